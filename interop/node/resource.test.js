// keybound as client: its tokens and proofs before `oauth4webapi` as resource server, and taken apart with `jose`.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { after, before, test } from 'node:test'

import * as jose from 'jose'
import * as oauth from 'oauth4webapi'

import { assertAllUsed, refuses } from './exceptions.js'
import { ALGORITHMS, serve } from './keybound.js'

const plain = { [oauth.allowInsecureRequests]: true }

let server, as, resource
before(async () => {
  server = await serve()
  const response = await oauth.discoveryRequest(server.issuer, { algorithm: 'oauth2', ...plain })
  as = await oauth.processDiscoveryResponse(server.issuer, response)
  resource = await protectedResource()
})
after(async () => {
  resource.server.close()
  await server.stop()
  assertAllUsed('jose', 'oauth4webapi')
})

function validate(request) {
  return oauth.validateJwtAccessToken(as, request, server.url, { requireDPoP: true, ...plain })
}

/** A server that lets in what oauth4webapi lets in, and answers with the claims of the token. */
async function protectedResource() {
  const own = createServer(async (incoming, response) => {
    const request = new Request(`${url}${incoming.url}`, { method: incoming.method, headers: incoming.headers })
    try {
      response.end(JSON.stringify(await validate(request)))
    } catch (error) {
      response.writeHead(401, { 'WWW-Authenticate': 'DPoP algs="ES256"' }).end(`${error.code}: ${error.message}`)
    }
  })
  own.listen(0, '127.0.0.1')
  await once(own, 'listening')
  const url = `http://127.0.0.1:${own.address().port}`
  return { server: own, url }
}

/** A command that has to succeed. */
async function did(...words) {
  const { status, stdout, stderr } = await server.run(...words)
  assert.equal(status, 0, `keybound ${words.join(' ')}\n${stderr}`)
  return stdout
}

const access = (key) => ['--issuer', server.issuer.href, '--client-id', 'basic', '--key', key]

async function proofFor(url, key, accessToken, ...words) {
  return did('proof', '--key', key, '--token', accessToken, ...words, url)
}

function presented(url, accessToken, proof, method = 'GET') {
  return new Request(url, { method, headers: { Authorization: `DPoP ${accessToken}`, DPoP: proof } })
}

for (const alg of ALGORITHMS) {
  test(`keybound request before oauth4webapi: ${alg}`, async () => {
    const key = `key-${alg}`
    await did('key', 'new', key, '--alg', alg)
    const jkt = await did('key', 'thumbprint', key)
    const claims = JSON.parse(await did('request', ...access(key), `${resource.url}/orders?page=1`))
    assert.equal(claims.cnf.jkt, jkt)
    assert.equal(claims.client_id, 'basic')
  })

  test(`proof and token taken apart with jose: ${alg}`, async () => {
    const key = `other-${alg}`
    await did('key', 'new', key, '--alg', alg)
    const jwk = JSON.parse(await did('key', 'show', key))
    const jkt = await jose.calculateJwkThumbprint(jwk)
    assert.equal(await did('key', 'thumbprint', key), jkt)

    const accessToken = await did('token', ...access(key))
    const keys = jose.createRemoteJWKSet(new URL(as.jwks_uri))
    const { payload } = await jose.jwtVerify(accessToken, keys, {
      issuer: server.issuer.href, audience: server.url, typ: 'at+jwt', requiredClaims: ['sub', 'client_id', 'iat', 'jti', 'exp'],
    })
    assert.deepEqual(payload.cnf, { jkt })

    const url = `${resource.url}/orders`
    const proof = await proofFor(url, key, accessToken, '--nonce', 'n-0S6_WzA2Mj')
    const { payload: claims, protectedHeader } = await jose.jwtVerify(proof, jose.EmbeddedJWK, { typ: 'dpop+jwt', maxTokenAge: 60 })
    assert.equal(protectedHeader.alg, alg)
    assert.equal(await jose.calculateJwkThumbprint(protectedHeader.jwk), jkt)
    assert.deepEqual([claims.htm, claims.htu, claims.nonce], ['GET', url, 'n-0S6_WzA2Mj'])
    assert.ok(claims.jti.length >= 16)
    await validate(presented(url, accessToken, proof))
  })
}

test('an upstream checks the statement of proof = "attest" with jose', async () => {
  await did('key', 'new', 'attested')
  const { fields } = JSON.parse(await did('request', ...access('attested'), `${server.url}/attested/orders?page=1`))
  assert.deepEqual([fields.dpop, fields.authorization], [undefined, undefined])
  const keys = jose.createRemoteJWKSet(new URL(`${server.url}/.well-known/keybound-attestation-jwks`))
  const check = (statement, audience) => jose.jwtVerify(statement, keys, {
    issuer: server.url, audience, typ: 'keybound-attestation+jwt', algorithms: ['ES256'], maxTokenAge: 30,
    requiredClaims: ['htm', 'htu', 'ath', 'sub', 'client_id', 'scope', 'jkt', 'iat', 'exp', 'jti'],
  })
  const statement = fields['keybound-attestation']
  const { payload } = await check(statement, 'https://attested.internal')
  assert.deepEqual([payload.htm, payload.htu], ['GET', `${server.url}/attested/orders`])
  assert.deepEqual([payload.client_id, payload.jkt], ['basic', await did('key', 'thumbprint', 'attested')])
  await assert.rejects(check(statement, 'https://other.internal'), { code: 'ERR_JWT_CLAIM_VALIDATION_FAILED' })
  const [header, , signature] = statement.split('.')
  const forged = [header, jose.base64url.encode(JSON.stringify({ ...payload, sub: 'mallory' })), signature].join('.')
  await assert.rejects(check(forged, 'https://attested.internal'), { code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED' })
})

test('hostile requests are refused by oauth4webapi and jose', async (t) => {
  const url = `${resource.url}/orders`
  await did('key', 'new', 'owner')
  await did('key', 'new', 'thief')
  const accessToken = await did('token', ...access('owner'))
  const good = await proofFor(url, 'owner', accessToken)
  const flipped = (text, at) => text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1)
  const cases = {
    'proof by another key': () => proofFor(url, 'thief', accessToken),
    'proof for another method': () => proofFor(url, 'owner', accessToken, '-X', 'POST'),
    'proof for another path': () => proofFor(`${resource.url}/other`, 'owner', accessToken),
    'proof for another host': () => proofFor('https://evil.example/orders', 'owner', accessToken),
    'proof for another token': () => proofFor(url, 'owner', `${accessToken}x`),
    'proof for no token': () => did('proof', '--key', 'owner', url),
    'old proof': () => proofFor(url, 'owner', accessToken, '--at', `${Math.floor(Date.now() / 1000) - 600}`),
    'proof from the future': () => proofFor(url, 'owner', accessToken, '--at', `${Math.floor(Date.now() / 1000) + 600}`),
    'proof with another signature': () => flipped(good, good.length - 20),
    'proof with other claims': () => flipped(good, good.indexOf('.') + 8),
    'token as proof': () => accessToken,
  }
  // Of these jose can know, too: the others are about the request.
  const embedded = ['old proof', 'proof from the future', 'proof with another signature', 'proof with other claims', 'token as proof']
  for (const [name, make] of Object.entries(cases)) {
    await t.test(name, async () => {
      const proof = await make()
      await refuses('oauth4webapi', name, () => validate(presented(url, accessToken, proof)))
      if (!embedded.includes(name)) return
      await refuses('jose', name, () => jose.jwtVerify(proof, jose.EmbeddedJWK, { typ: 'dpop+jwt', maxTokenAge: 60 }))
    })
  }
  await t.test('proof as token', () => refuses('oauth4webapi', 'proof as token', () => validate(presented(url, good, good))))
  await t.test('token with other claims', async () => {
    const forged = flipped(accessToken, accessToken.indexOf('.') + 40)
    const proof = await proofFor(url, 'owner', forged)
    await refuses('oauth4webapi', 'token with other claims', () => validate(presented(url, forged, proof)))
  })
  await validate(presented(url, accessToken, good))
  await t.test('proof a second time', () =>
    refuses('oauth4webapi', 'proof a second time', () => validate(presented(url, accessToken, good))))
})
