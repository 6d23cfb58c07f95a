// Clients that register themselves and then do all that a client does, until they give their registration back: `oauth4webapi`, whose
// own end-to-end tests have their clients so, and `openid-client`; with nonces off, offered and demanded.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { after, before, describe, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'

import * as jose from 'jose'
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'

import { browse } from './browser.js'
import { ASSERTIONS, PERSON, SECRET, serve } from './keybound.js'

const plain = { [oauth.allowInsecureRequests]: true }
const METHODS = ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none']

/** Does it again where a nonce is demanded, which consumes nothing: once. */
async function tried(attempt) {
  try {
    return await attempt()
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return attempt()
  }
}

/** What a client has to say of itself, with a key of its own where it authenticates by one. */
async function described(method, redirect) {
  const pair = await oauth.generateKeyPair('ES256', { extractable: true })
  const jwk = { ...await jose.exportJWK(pair.publicKey), kid: 'own', alg: 'ES256', use: 'sig' }
  const metadata = {
    client_name: 'Registered',
    redirect_uris: [redirect],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: method,
    dpop_bound_access_tokens: true,
    scope: 'openid read',
    ...method === 'private_key_jwt' ? { jwks: { keys: [jwk] } } : {},
  }
  return { metadata, key: { key: pair.privateKey, kid: 'own' } }
}

/** Its management (RFC 7592): it reads, changes and deletes its registration, as it stands in the answer to it. */
function management({ client_id, registration_client_uri: uri, registration_access_token: token }) {
  const ask = async (method, body, by = token) => {
    const headers = { Authorization: `Bearer ${by}`, ...body ? { 'Content-Type': 'application/json' } : {} }
    const answer = await fetch(uri, { method, headers, body: body && JSON.stringify(body) })
    return { status: answer.status, said: answer.status === 204 ? undefined : await answer.json() }
  }
  return {
    async read() {
      const { status, said } = await ask('GET')
      assert.equal(status, 200)
      assert.equal(said.client_id, client_id)
      assert.equal(said.client_secret, undefined, 'it is told once')
      return said
    },
    async change(metadata) {
      const { status, said } = await ask('PUT', { ...metadata, client_id })
      assert.equal(status, 200, JSON.stringify(said))
      return said
    },
    async delete() {
      assert.equal((await ask('DELETE')).status, 204)
      assert.equal((await ask('GET')).status, 401, 'there is none any more')
    },
    async isNobodyElses() {
      for (const method of ['GET', 'DELETE']) assert.equal((await ask(method, undefined, SECRET)).status, 401)
    },
  }
}

let app
before(async () => {
  // Where the browser is sent back to.
  const listener = createServer((_, response) => response.end('back'))
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  app = { listener, redirect: `http://127.0.0.1:${listener.address().port}/back` }
})
after(() => app.listener.close())

for (const policy of ['off', 'offer', 'require']) {
  describe(`registered clients, nonces ${policy}`, () => {
    let server
    before(async () => {
      server = await serve(policy, { people: true })
      // Assertions from before its start would be refused.
      await setTimeout(Math.max(0, server.started + ASSERTIONS - Date.now()))
    })
    after(() => server.stop())

    /** Where a person ends who signs in and agrees. */
    async function visit(url) {
      const end = await browse(url, PERSON)
      assert.equal(end.text, 'back', end.text)
      return new URL(end.url)
    }

    for (const method of METHODS) {
      test(`oauth4webapi by ${method}`, async () => {
        const response = await oauth.discoveryRequest(server.issuer, { algorithm: 'oidc', ...plain })
        const as = await oauth.processDiscoveryResponse(server.issuer, response)
        const { metadata, key } = await described(method, app.redirect)
        const registered = await oauth.processDynamicClientRegistrationResponse(
          await oauth.dynamicClientRegistrationRequest(as, metadata, { initialAccessToken: SECRET, ...plain }))
        assert.equal(registered.dpop_bound_access_tokens, true)
        const authentication = {
          client_secret_basic: () => oauth.ClientSecretBasic(registered.client_secret),
          client_secret_post: () => oauth.ClientSecretPost(registered.client_secret),
          private_key_jwt: () => oauth.PrivateKeyJwt(key),
          none: () => oauth.None(),
        }[method]()
        const DPoP = oauth.DPoP(registered, await oauth.generateKeyPair('ES256'))
        const options = { DPoP, ...plain }
        const own = management(registered)
        await own.isNobodyElses()
        assert.deepEqual((await own.read()).redirect_uris, [app.redirect])

        const kept = { verifier: oauth.generateRandomCodeVerifier(), state: oauth.generateRandomState(), nonce: oauth.generateRandomNonce() }
        const asked = async () => new URLSearchParams({
          client_id: registered.client_id,
          redirect_uri: app.redirect,
          response_type: 'code',
          scope: 'openid read',
          state: kept.state,
          nonce: kept.nonce,
          code_challenge: await oauth.calculatePKCECodeChallenge(kept.verifier),
          code_challenge_method: 'S256',
        })
        const pushed = await tried(async () => oauth.processPushedAuthorizationResponse(
          as, registered, await oauth.pushedAuthorizationRequest(as, registered, authentication, await asked(), options)))
        const front = new URL(as.authorization_endpoint)
        front.search = new URLSearchParams({ client_id: registered.client_id, request_uri: pushed.request_uri })
        const back = oauth.validateAuthResponse(as, registered, await visit(front), kept.state)
        const redeem = (with_) => oauth.authorizationCodeGrantRequest(as, registered, authentication, back, app.redirect, kept.verifier, with_)
        const unbound = await redeem(plain)
        assert.equal(unbound.status, 400, 'it said that its tokens are bound')
        const first = await tried(async () => oauth.processAuthorizationCodeResponse(
          as, registered, await redeem(options), { expectedNonce: kept.nonce, requireIdToken: true }))
        assert.equal(first.token_type, 'dpop')

        const refresh = (token, with_ = options) => tried(async () => oauth.processRefreshTokenResponse(
          as, registered, await oauth.refreshTokenGrantRequest(as, registered, authentication, token, with_)))
        await assert.rejects(refresh(first.refresh_token, plain), { name: 'ResponseBodyError' }, 'nor unbound afterwards')
        const second = await refresh(first.refresh_token)
        assert.equal(second.token_type, 'dpop')
        const claims = await tried(async () => oauth.processUserInfoResponse(
          as, registered, first.id_token && oauth.getValidatedIdTokenClaims(first).sub,
          await oauth.userInfoRequest(as, registered, second.access_token, options)))
        assert.ok(claims.sub)

        const changed = await own.change({ ...metadata, client_name: 'Changed' })
        assert.equal(changed.client_name, 'Changed')
        assert.equal((await own.read()).client_name, 'Changed')
        const third = await refresh(second.refresh_token)
        await oauth.processRevocationResponse(
          await oauth.revocationRequest(as, registered, authentication, third.refresh_token, plain))
        await assert.rejects(refresh(third.refresh_token), { error: 'invalid_grant' })
        await own.delete()
        await assert.rejects(refresh(third.refresh_token), { name: 'WWWAuthenticateChallengeError', status: 401 }, 'nobody knows it any more')
      })

      test(`openid-client by ${method}`, async () => {
        const { metadata, key } = await described(method, app.redirect)
        const authentication = {
          client_secret_basic: () => client.ClientSecretBasic(),
          client_secret_post: () => client.ClientSecretPost(),
          private_key_jwt: () => client.PrivateKeyJwt(key),
          none: () => client.None(),
        }[method]()
        const config = await client.dynamicClientRegistration(
          server.issuer, metadata, authentication, { initialAccessToken: SECRET, execute: [client.allowInsecureRequests] })
        const pair = await client.randomDPoPKeyPair('ES256')
        const options = { DPoP: client.getDPoPHandle(config, pair) }
        const own = management(config.clientMetadata())
        await own.read()

        const [verifier, nonce, state] = [client.randomPKCECodeVerifier(), client.randomNonce(), client.randomState()]
        const url = await client.buildAuthorizationUrlWithPAR(config, {
          redirect_uri: app.redirect,
          scope: 'openid read',
          code_challenge: await client.calculatePKCECodeChallenge(verifier),
          code_challenge_method: 'S256',
          nonce,
          state,
        }, options)
        const checks = { pkceCodeVerifier: verifier, expectedNonce: nonce, expectedState: state, idTokenExpected: true }
        const back = await visit(url)
        const first = await client.authorizationCodeGrant(config, back, checks, undefined, options)
        assert.equal(first.token_type, 'dpop')
        assert.equal(jose.decodeJwt(first.access_token).cnf.jkt, await jose.calculateJwkThumbprint(await jose.exportJWK(pair.publicKey)))
        const second = await client.refreshTokenGrant(config, first.refresh_token, undefined, options)
        const subject = first.claims().sub
        assert.equal((await client.fetchUserInfo(config, second.access_token, subject, options)).sub, subject)

        await own.change({ ...metadata, client_name: 'Changed' })
        const third = await client.refreshTokenGrant(config, second.refresh_token, undefined, options)
        await client.tokenRevocation(config, third.refresh_token)
        await assert.rejects(client.refreshTokenGrant(config, third.refresh_token, undefined, options), { error: 'invalid_grant' })
        await own.delete()
        await assert.rejects(client.refreshTokenGrant(config, third.refresh_token, undefined, options))
      })
    }
  })
}
