// `oauth4webapi` as client of keybound's issuer and gateway, with nonces off, offered and demanded.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import * as jose from 'jose'
import * as oauth from 'oauth4webapi'

import { assertAdmitted } from './client.js'
import { ALGORITHMS, ASSERTIONS, BARRIER, SECRET, serve } from './keybound.js'

const plain = { [oauth.allowInsecureRequests]: true }

/** Does it again where a nonce is demanded; how often it was tried and what came of it. */
async function tried(attempt) {
  try {
    return { tries: 1, result: await attempt() }
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return { tries: 2, result: await attempt() }
  }
}

/** When this server has been up for so many milliseconds. */
async function since(server, time) {
  await sleep(Math.max(0, server.started + time - Date.now()))
}

async function discover(server) {
  const response = await oauth.discoveryRequest(server.issuer, { algorithm: 'oauth2', ...plain })
  return oauth.processDiscoveryResponse(server.issuer, response)
}

/** One session: the issuer's metadata, a client, a key. */
async function session(server, method, alg = 'ES256') {
  const as = await discover(server)
  const [id, authentication] = {
    basic: ['basic', oauth.ClientSecretBasic(SECRET)],
    post: ['post', oauth.ClientSecretPost(SECRET)],
    private_key_jwt: ['signer', oauth.PrivateKeyJwt({ key: server.signer, kid: 'signer' })],
  }[method]
  const client = { client_id: id }
  const pair = await oauth.generateKeyPair(alg, { extractable: true })
  const DPoP = oauth.DPoP(client, pair)
  const token = () => tried(async () => {
    const response = await oauth.clientCredentialsGrantRequest(as, client, authentication, { scope: 'read' }, { DPoP, ...plain })
    return oauth.processClientCredentialsResponse(as, client, response)
  })
  const get = (accessToken, handle = DPoP) => tried(async () =>
    oauth.protectedResourceRequest(accessToken, 'GET', new URL(`${server.url}/orders?page=1`), undefined, null, { DPoP: handle, ...plain }))
  return { as, client, pair, token, get, jkt: await jose.calculateJwkThumbprint(await jose.exportJWK(pair.publicKey)) }
}

// All at once, so that they need be waited for once.
const servers = {}
before(async () => {
  for (const policy of ['off', 'offer', 'require']) servers[policy] = await serve(policy)
})
after(async () => {
  for (const server of Object.values(servers)) await server.stop()
})

for (const policy of ['off', 'offer', 'require']) {
  describe(`nonces ${policy}`, () => {
    // A server that just started asks for one nonce under every policy, so each may take one retry, and no more.
    for (const method of ['basic', 'post', 'private_key_jwt']) {
      test(`a token by ${method}`, async () => {
        const server = servers[policy]
        if (method === 'private_key_jwt') await since(server, ASSERTIONS)
        const { as, token, get, jkt } = await session(server, method)
        const { result } = await token()
        assert.equal(result.token_type, 'dpop')
        assert.equal(result.scope, 'read')
        const keys = jose.createRemoteJWKSet(new URL(as.jwks_uri))
        const { payload } = await jose.jwtVerify(result.access_token, keys, {
          issuer: server.issuer.href, audience: server.url, typ: 'at+jwt',
        })
        assert.equal(payload.cnf.jkt, jkt)
        const { result: answer } = await get(result.access_token)
        assert.equal(answer.status, 200)
        assert.equal((await answer.json()).fields['keybound-jkt'], jkt)
        assert.equal((await get(result.access_token)).tries, 1, 'the nonce was not remembered')
      })
    }

    test('once nobody can have used a proof before', async () => {
      const server = servers[policy]
      await since(server, BARRIER)
      const { client, pair, token, get, jkt } = await session(server, 'basic')
      const { tries, result } = await token()
      assert.equal(tries, policy === 'require' ? 2 : 1)
      const fresh = await get(result.access_token, oauth.DPoP(client, pair))
      assert.equal(fresh.tries, policy === 'require' ? 2 : 1)
      assert.equal(fresh.result.headers.has('dpop-nonce'), policy === 'offer', 'one with the first success, where they are offered')
      await assertAdmitted(fresh.result, jkt)
      // It keeps nonces by origin alone, and here issuer and gateway share one: it tries the issuer's first (R-NONCE-13).
      assert.equal((await get(result.access_token)).tries, policy === 'off' ? 1 : 2)
      assert.equal((await get(result.access_token)).tries, 1)
    })
  })
}

describe('oauth4webapi and what it is refused', () => {
  let server
  before(() => { server = servers.offer })

  for (const alg of ALGORITHMS.filter((alg) => alg !== 'EdDSA')) {
    test(`a key for ${alg}`, async () => {
      const { token, get, jkt } = await session(server, 'basic', alg)
      const { result } = await token()
      await assertAdmitted((await get(result.access_token)).result, jkt)
    })
  }

  test('its metadata is complete', async () => {
    const as = await discover(server)
    assert.deepEqual(as.dpop_signing_alg_values_supported.toSorted(), ALGORITHMS.toSorted())
    assert.ok(as.grant_types_supported.includes('client_credentials'))
  })

  test('a wrong secret', async () => {
    const as = await discover(server)
    const client = { client_id: 'basic' }
    const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))
    await assert.rejects(async () => {
      await tried(async () => {
        const wrong = oauth.ClientSecretBasic('wrong')
        const response = await oauth.clientCredentialsGrantRequest(as, client, wrong, {}, { DPoP, ...plain })
        return oauth.processClientCredentialsResponse(as, client, response)
      })
    }, (error) => error instanceof oauth.WWWAuthenticateChallengeError && error.status === 401)
  })

  test('a grant and a scope that are not for it', async () => {
    const as = await discover(server)
    const client = { client_id: 'post' }
    const authentication = oauth.ClientSecretPost(SECRET)
    for (const [grant, parameters, expected] of [
      ['refresh_token', { refresh_token: 'x' }, 'unauthorized_client'],
      ['client_credentials', { scope: 'admin' }, 'invalid_scope'],
    ]) {
      const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))
      await assert.rejects(() => tried(async () => {
        const response = await oauth.genericTokenEndpointRequest(as, client, authentication, grant, parameters, { DPoP, ...plain })
        return oauth.processGenericTokenEndpointResponse(as, client, response)
      }), (error) => error instanceof oauth.ResponseBodyError && error.error === expected && error.status === 400)
    }
  })

  test('a token that somebody else holds', async () => {
    const owner = await session(server, 'basic')
    const { result } = await owner.token()
    const thief = await session(server, 'basic')
    await assert.rejects(() => thief.get(result.access_token), (error) =>
      error instanceof oauth.WWWAuthenticateChallengeError && error.status === 401
      && error.cause[0].scheme === 'dpop' && error.cause[0].parameters.error === 'invalid_token')
  })

  test('a bound token as bearer', async () => {
    const { token } = await session(server, 'basic')
    const { result } = await token()
    const url = new URL(`${server.url}/orders`)
    await assert.rejects(() => oauth.protectedResourceRequest(result.access_token, 'GET', url, undefined, null, plain), (error) =>
      error instanceof oauth.WWWAuthenticateChallengeError && error.status === 401)
  })
})
