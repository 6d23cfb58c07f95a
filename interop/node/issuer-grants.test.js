// `oauth4webapi` as client of every grant keybound's issuer has, with nonces off, offered and demanded.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'

import * as jose from 'jose'
import * as oauth from 'oauth4webapi'

import { REDIRECT, SECRET, serve } from './keybound.js'

const plain = { [oauth.allowInsecureRequests]: true }

/** Does it again where a nonce is demanded, which consumes nothing: once. */
async function tried(attempt) {
  try {
    return await attempt()
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return attempt()
  }
}

/** One client with a key: the parts of every flow. */
async function session(server, id, authentication) {
  const response = await oauth.discoveryRequest(server.issuer, { algorithm: 'oidc', ...plain })
  const as = await oauth.processDiscoveryResponse(server.issuer, response)
  const client = { client_id: id }
  const pair = await oauth.generateKeyPair('ES256')
  const DPoP = oauth.DPoP(client, pair)
  const jkt = await jose.calculateJwkThumbprint(await jose.exportJWK(pair.publicKey))
  const options = { DPoP, ...plain }

  /** An authorization request with a new verifier, and what the client keeps of it. */
  const request = async (more = {}) => {
    const kept = { verifier: oauth.generateRandomCodeVerifier(), state: oauth.generateRandomState() }
    const parameters = new URLSearchParams({
      client_id: id,
      redirect_uri: REDIRECT,
      response_type: 'code',
      scope: 'openid read',
      state: kept.state,
      code_challenge: await oauth.calculatePKCECodeChallenge(kept.verifier),
      code_challenge_method: 'S256',
      ...more,
    })
    return { parameters, kept }
  }

  /** What the browser brings back. */
  const browse = async (parameters, { state }) => {
    const url = new URL(as.authorization_endpoint)
    url.search = parameters
    const answer = await fetch(url, { redirect: 'manual' })
    assert.equal(answer.status, 303, await answer.text())
    return oauth.validateAuthResponse(as, client, new URL(answer.headers.get('location')), state)
  }

  const push = (parameters) => tried(async () => {
    const response = await oauth.pushedAuthorizationRequest(as, client, authentication, parameters, options)
    return oauth.processPushedAuthorizationResponse(as, client, response)
  })

  const redeem = (back, { verifier }, checks = {}) => tried(async () => {
    const response = await oauth.authorizationCodeGrantRequest(as, client, authentication, back, REDIRECT, verifier, options)
    return oauth.processAuthorizationCodeResponse(as, client, response, checks)
  })

  const refresh = (token) => tried(async () => {
    const response = await oauth.refreshTokenGrantRequest(as, client, authentication, token, options)
    return oauth.processRefreshTokenResponse(as, client, response)
  })

  /** Tokens of a user, the short way. */
  const tokens = async () => {
    const { parameters, kept } = await request({ dpop_jkt: jkt })
    return redeem(await browse(parameters, kept), kept)
  }

  return { as, client, authentication, options, jkt, request, browse, push, redeem, refresh, tokens }
}

const CLIENTS = [['app', oauth.None()], ['web', oauth.ClientSecretBasic(SECRET)]]

const POLICIES = [
  ['off'],
  ['offer'],
  ['require'],
  ['off', { token: 'require', userinfo: 'offer' }],
  ['require', { token: 'off', par: 'offer', device_authorization: 'off' }],
]

for (const [policy, endpoints = {}] of POLICIES) {
  const others = Object.entries(endpoints).map(([name, own]) => `, ${own} at ${name}`).join('')
  describe(`grants, nonces ${policy}${others}`, () => {
    let server
    before(async () => { server = await serve(policy, { endpoints }) })
    after(() => server.stop())

    for (const [id, authentication] of CLIENTS) {
      test(`code, PKCE, PAR and refresh of ${id}`, async () => {
        const flow = await session(server, id, authentication)
        const nonce = oauth.generateRandomNonce()
        const { parameters, kept } = await flow.request({ nonce })
        const pushed = await flow.push(parameters)
        const front = new URLSearchParams({ client_id: id, request_uri: pushed.request_uri })
        const result = await flow.redeem(await flow.browse(front, kept), kept, { expectedNonce: nonce, requireIdToken: true })
        assert.equal(result.token_type, 'dpop')
        assert.equal(oauth.getValidatedIdTokenClaims(result).sub, 'alice')
        const keys = jose.createRemoteJWKSet(new URL(flow.as.jwks_uri))
        const { payload } = await jose.jwtVerify(result.access_token, keys, { issuer: server.issuer.href, typ: 'at+jwt' })
        assert.equal(payload.cnf.jkt, flow.jkt)
        const refreshed = await flow.refresh(result.refresh_token)
        assert.notEqual(refreshed.refresh_token, result.refresh_token)
        await flow.refresh(refreshed.refresh_token)
        await assert.rejects(flow.refresh(result.refresh_token), { error: 'invalid_grant' }, 'it was used before')
      })
    }

    test('the claims of the user', async () => {
      const flow = await session(server, 'app', oauth.None())
      const { access_token: token } = await flow.tokens()
      const claims = await tried(async () => {
        const response = await oauth.userInfoRequest(flow.as, flow.client, token, flow.options)
        return oauth.processUserInfoResponse(flow.as, flow.client, 'alice', response)
      })
      assert.equal(claims.sub, 'alice')
    })

    test('introspection, plain and signed, and revocation', async () => {
      const flow = await session(server, 'web', oauth.ClientSecretBasic(SECRET))
      const { access_token: token } = await flow.tokens()
      const introspect = async (requestJwtResponse) => {
        const { as, client, authentication } = flow
        const response = await oauth.introspectionRequest(as, client, authentication, token, { requestJwtResponse, ...plain })
        return oauth.processIntrospectionResponse(as, client, response)
      }
      for (const signed of [false, true]) {
        const said = await introspect(signed)
        assert.equal(said.active, true)
        assert.equal(said.cnf.jkt, flow.jkt)
      }
      const response = await oauth.revocationRequest(flow.as, flow.client, flow.authentication, token, plain)
      await oauth.processRevocationResponse(response)
      assert.deepEqual(await introspect(false), { active: false })
    })

    test('a device', async () => {
      const flow = await session(server, 'app', oauth.None())
      const { as, client, authentication, options } = flow
      const codes = await tried(async () => {
        const response = await oauth.deviceAuthorizationRequest(as, client, authentication, { scope: 'read', dpop_jkt: flow.jkt }, options)
        return oauth.processDeviceAuthorizationResponse(as, client, response)
      })
      assert.equal((await fetch(codes.verification_uri_complete)).status, 200)
      const result = await tried(async () => {
        const response = await oauth.deviceCodeGrantRequest(as, client, authentication, codes.device_code, options)
        return oauth.processDeviceCodeResponse(as, client, response)
      })
      assert.equal(result.token_type, 'dpop')
    })

    test('a bearer token that becomes a bound one', async () => {
      const flow = await session(server, 'loose', oauth.ClientSecretPost(SECRET))
      const { as, client, authentication, options } = flow
      const bearer = await oauth.processClientCredentialsResponse(
        as, client, await oauth.clientCredentialsGrantRequest(as, client, authentication, { scope: 'read' }, plain))
      assert.equal(bearer.token_type, 'bearer')
      const result = await tried(async () => {
        const response = await oauth.genericTokenEndpointRequest(
          as, client, authentication, 'urn:ietf:params:oauth:grant-type:token-exchange', {
            subject_token: bearer.access_token,
            subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
          }, options)
        return oauth.processGenericTokenEndpointResponse(as, client, response)
      })
      assert.equal(result.token_type, 'dpop')
    })

    test('a client that registers itself', async () => {
      const flow = await session(server, 'app', oauth.None())
      const response = await oauth.dynamicClientRegistrationRequest(flow.as, {
        grant_types: ['client_credentials'],
        response_types: [],
        token_endpoint_auth_method: 'client_secret_post',
        dpop_bound_access_tokens: true,
        scope: 'read',
      }, { initialAccessToken: SECRET, ...plain })
      const client = await oauth.processDynamicClientRegistrationResponse(response)
      assert.equal(client.dpop_bound_access_tokens, true)
      const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))
      const result = await tried(async () => {
        const authentication = oauth.ClientSecretPost(client.client_secret)
        const response = await oauth.clientCredentialsGrantRequest(flow.as, client, authentication, {}, { DPoP, ...plain })
        return oauth.processClientCredentialsResponse(flow.as, client, response)
      })
      assert.equal(result.token_type, 'dpop')
      assert.equal(result.scope, 'read')
    })
  })
}
