// `openid-client` as client of every grant it knows and keybound's issuer has, with nonces off, offered and demanded. It tries
// again by itself where a nonce is demanded.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'

import * as jose from 'jose'
import * as client from 'openid-client'

import { ASSERTIONS, REDIRECT, SECRET, serve } from './keybound.js'

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'

for (const policy of ['off', 'offer', 'require']) {
  describe(`openid-client, nonces ${policy}`, () => {
    let server
    before(async () => { server = await serve(policy) })
    after(() => server.stop())

    /** A client of this name with a key of its own. */
    async function session(id, authentication) {
      const options = { execute: [client.allowInsecureRequests] }
      const config = await client.discovery(server.issuer, id, undefined, authentication, options)
      const pair = await client.randomDPoPKeyPair('ES256')
      const jkt = await jose.calculateJwkThumbprint(await jose.exportJWK(pair.publicKey))
      return { config, jkt, options: { DPoP: client.getDPoPHandle(config, pair) } }
    }

    const assertBound = ({ access_token: token, token_type: type }, { jkt }) => {
      assert.equal(type, 'dpop')
      assert.equal(jose.decodeJwt(token).cnf.jkt, jkt)
    }

    /** Tokens of a user, by a request that is pushed or not. */
    async function signedIn({ config, jkt, options }, pushed) {
      const [verifier, nonce, state] = [client.randomPKCECodeVerifier(), client.randomNonce(), client.randomState()]
      const parameters = {
        redirect_uri: REDIRECT,
        scope: 'openid read',
        code_challenge: await client.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        nonce,
        state,
      }
      const url = pushed
        ? await client.buildAuthorizationUrlWithPAR(config, parameters, options)
        : client.buildAuthorizationUrl(config, { ...parameters, dpop_jkt: jkt })
      const answer = await fetch(url, { redirect: 'manual' })
      assert.equal(answer.status, 303, await answer.text())
      const back = new URL(answer.headers.get('location'))
      const checks = { pkceCodeVerifier: verifier, expectedNonce: nonce, expectedState: state, idTokenExpected: true }
      return client.authorizationCodeGrant(config, back, checks, undefined, options)
    }

    for (const [id, authentication] of [['app', client.None()], ['web', client.ClientSecretBasic(SECRET)]]) {
      for (const pushed of [false, true]) {
        test(`code, PKCE${pushed ? ', PAR' : ''}, refresh and claims of ${id}`, async () => {
          const one = await session(id, authentication)
          const first = await signedIn(one, pushed)
          assertBound(first, one)
          assert.equal(first.claims().sub, 'alice')
          const second = await client.refreshTokenGrant(one.config, first.refresh_token, undefined, one.options)
          assertBound(second, one)
          const claims = await client.fetchUserInfo(one.config, second.access_token, 'alice', one.options)
          assert.equal(claims.sub, 'alice')
          await client.tokenRevocation(one.config, second.refresh_token)
          const again = client.refreshTokenGrant(one.config, second.refresh_token, undefined, one.options)
          await assert.rejects(again, { error: 'invalid_grant' })
        })
      }
    }

    for (const [id, authentication] of [['basic', client.ClientSecretBasic(SECRET)], ['post', client.ClientSecretPost(SECRET)]]) {
      test(`client credentials of ${id}, and introspection`, async () => {
        const one = await session(id, authentication)
        const tokens = await client.clientCredentialsGrant(one.config, { scope: 'read' }, one.options)
        assertBound(tokens, one)
        const said = await client.tokenIntrospection(one.config, tokens.access_token)
        assert.deepEqual([said.active, said.cnf.jkt], [true, one.jkt])
      })
    }

    test('a device', async () => {
      const one = await session('app', client.None())
      const codes = await client.initiateDeviceAuthorization(one.config, { scope: 'read', dpop_jkt: one.jkt })
      assert.equal((await fetch(codes.verification_uri_complete)).status, 200)
      assertBound(await client.pollDeviceAuthorizationGrant(one.config, codes, undefined, one.options), one)
    })

    test('a bearer token that becomes a bound one', async () => {
      const one = await session('loose', client.ClientSecretPost(SECRET))
      const bearer = await client.clientCredentialsGrant(one.config, { scope: 'read' })
      assert.equal(bearer.token_type, 'bearer')
      const parameters = { subject_token: bearer.access_token, subject_token_type: ACCESS_TOKEN }
      assertBound(await client.genericGrantRequest(one.config, EXCHANGE, parameters, one.options), one)
    })

    test('a client that registers itself', async () => {
      const config = await client.dynamicClientRegistration(server.issuer, {
        grant_types: ['client_credentials'],
        response_types: [],
        token_endpoint_auth_method: 'client_secret_post',
        dpop_bound_access_tokens: true,
        scope: 'read',
      }, undefined, { initialAccessToken: SECRET, execute: [client.allowInsecureRequests] })
      const pair = await client.randomDPoPKeyPair('ES256')
      const options = { DPoP: client.getDPoPHandle(config, pair) }
      assert.equal((await client.clientCredentialsGrant(config, {}, options)).token_type, 'dpop')
    })

    test('client credentials by an assertion', async () => {
      await setTimeout(Math.max(0, server.started + ASSERTIONS - Date.now()))
      const one = await session('signer', client.PrivateKeyJwt(server.signer))
      assertBound(await client.clientCredentialsGrant(one.config, { scope: 'read' }, one.options), one)
    })
  })
}
