// Authorization requests that are signed (RFC 9101), by `oauth4webapi` and by `openid-client`: at the authorization endpoint and pushed,
// with nonces off, offered and demanded.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'

import * as jose from 'jose'
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'

import { REDIRECT, SECRET, serve } from './keybound.js'

const plain = { [oauth.allowInsecureRequests]: true }
const id = 'objects'

/** Does it again where a nonce is demanded, which consumes nothing: once. */
async function tried(attempt) {
  try {
    return await attempt()
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return attempt()
  }
}

/** What a browser that is signed in brings back from there. */
async function visit(url) {
  const answer = await fetch(url, { redirect: 'manual' })
  assert.equal(answer.status, 303, await answer.text())
  return new URL(answer.headers.get('location'))
}

for (const policy of ['off', 'offer', 'require']) {
  describe(`request objects, nonces ${policy}`, () => {
    let server
    before(async () => { server = await serve(policy) })
    after(() => server.stop())

    /** `oauth4webapi` with a key for its proofs. */
    async function session() {
      const response = await oauth.discoveryRequest(server.issuer, { algorithm: 'oidc', ...plain })
      const as = await oauth.processDiscoveryResponse(server.issuer, response)
      assert.ok(as.request_object_signing_alg_values_supported.includes('ES256'))
      const own = { client_id: id }
      const pair = await oauth.generateKeyPair('ES256')
      const DPoP = oauth.DPoP(own, pair)
      const kept = { verifier: oauth.generateRandomCodeVerifier(), state: oauth.generateRandomState(), nonce: oauth.generateRandomNonce() }
      const parameters = new URLSearchParams({
        redirect_uri: REDIRECT,
        response_type: 'code',
        scope: 'openid read',
        state: kept.state,
        nonce: kept.nonce,
        dpop_jkt: await DPoP.calculateThumbprint(),
        code_challenge: await oauth.calculatePKCECodeChallenge(kept.verifier),
        code_challenge_method: 'S256',
      })
      const authentication = oauth.ClientSecretBasic(SECRET)
      const sign = (key = server.signer) => oauth.issueRequestObject(as, own, parameters, { key, kid: 'signer' })
      const front = (more) => {
        const url = new URL(as.authorization_endpoint)
        url.search = new URLSearchParams({ client_id: id, ...more })
        return url
      }
      const push = (body) => tried(async () => oauth.processPushedAuthorizationResponse(
        as, own, await oauth.pushedAuthorizationRequest(as, own, authentication, body, { DPoP, ...plain })))
      const redeem = (url, handle = DPoP) => tried(async () => {
        const back = oauth.validateAuthResponse(as, own, url, kept.state)
        const response = await oauth.authorizationCodeGrantRequest(
          as, own, authentication, back, REDIRECT, kept.verifier, { DPoP: handle, ...plain })
        return oauth.processAuthorizationCodeResponse(as, own, response, { expectedNonce: kept.nonce, requireIdToken: true })
      })
      const assertBound = async (tokens) => {
        assert.equal(tokens.token_type, 'dpop')
        assert.equal(jose.decodeJwt(tokens.access_token).cnf.jkt, await DPoP.calculateThumbprint())
      }
      return { own, sign, front, push, redeem, assertBound }
    }

    test('oauth4webapi, at the authorization endpoint', async () => {
      const { own, sign, front, redeem, assertBound } = await session()
      const back = await visit(front({ request: await sign() }))
      // The key stands in the object, and no other one gets tokens for its code.
      const other = oauth.DPoP(own, await oauth.generateKeyPair('ES256'))
      await assert.rejects(redeem(back, other), { error: 'invalid_grant' })
      await assertBound(await redeem(back))
    })

    test('oauth4webapi, pushed', async () => {
      const { sign, front, push, redeem, assertBound } = await session()
      const pushed = await push({ request: await sign() })
      await assertBound(await redeem(await visit(front({ request_uri: pushed.request_uri }))))
    })

    test('oauth4webapi, signed by somebody else', async () => {
      const { sign, front, push } = await session()
      const forged = await sign((await oauth.generateKeyPair('ES256')).privateKey)
      await assert.rejects(push({ request: forged }), { error: 'invalid_request_object' })
      const answer = await fetch(front({ request: forged }), { redirect: 'manual' })
      assert.deepEqual([answer.status, answer.headers.get('location')], [400, null], 'nobody vouches for the address in it')
    })

    for (const pushed of [false, true]) {
      test(`openid-client, ${pushed ? 'pushed' : 'at the authorization endpoint'}`, async () => {
        const config = await client.discovery(
          server.issuer, id, undefined, client.ClientSecretBasic(SECRET), { execute: [client.allowInsecureRequests] })
        const pair = await client.randomDPoPKeyPair('ES256')
        const jkt = await jose.calculateJwkThumbprint(await jose.exportJWK(pair.publicKey))
        const options = { DPoP: client.getDPoPHandle(config, pair) }
        const [verifier, nonce, state] = [client.randomPKCECodeVerifier(), client.randomNonce(), client.randomState()]
        const signed = await client.buildAuthorizationUrlWithJAR(config, {
          redirect_uri: REDIRECT,
          scope: 'openid read',
          code_challenge: await client.calculatePKCECodeChallenge(verifier),
          code_challenge_method: 'S256',
          dpop_jkt: jkt,
          nonce,
          state,
        }, { key: server.signer, kid: 'signer' })
        assert.ok(signed.searchParams.has('request'))
        const url = pushed ? await client.buildAuthorizationUrlWithPAR(config, signed.searchParams, options) : signed
        const checks = { pkceCodeVerifier: verifier, expectedNonce: nonce, expectedState: state, idTokenExpected: true }
        const tokens = await client.authorizationCodeGrant(config, await visit(url), checks, undefined, options)
        assert.equal(tokens.token_type, 'dpop')
        assert.equal(jose.decodeJwt(tokens.access_token).cnf.jkt, jkt)
      })
    }
  })
}
