// Proofs by `dpop`, and by hand with `jose`, at keybound's issuer and gateway.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, test } from 'node:test'

import * as dpop from 'dpop'
import * as jose from 'jose'

import { assertAdmitted, get, token } from './client.js'
import { ALGORITHMS, serve } from './keybound.js'

let server
before(async () => { server = await serve() })
after(() => server.stop())

for (const alg of ['ES256', 'Ed25519', 'PS256', 'RS256']) {
  test(`a proof by dpop: ${alg}`, async () => {
    const pair = await dpop.generateKeyPair(alg)
    let accessToken
    const prove = (method, url, nonce) => dpop.generateProof(pair, url, method, nonce, accessToken)
    accessToken = await token(server, prove)
    await assertAdmitted(await get(`${server.url}/orders`, accessToken, prove), await dpop.calculateThumbprint(pair.publicKey))
  })
}

test('a proof by dpop with more claims', async () => {
  const pair = await dpop.generateKeyPair('ES256')
  const more = { exp: Math.floor(Date.now() / 1000) + 30, note: { any: ['thing', 1, null] } }
  let accessToken
  const prove = (method, url, nonce) => dpop.generateProof(pair, url, method, nonce, accessToken, more)
  accessToken = await token(server, prove)
  await assertAdmitted(await get(`${server.url}/orders`, accessToken, prove), await dpop.calculateThumbprint(pair.publicKey))
})

/** A key, and proofs by it with anything in them. */
async function holder(alg) {
  const pair = await jose.generateKeyPair(alg, { extractable: true })
  const jwk = await jose.exportJWK(pair.publicKey)
  const prove = async (method, url, { nonce, ath, claims = {}, header = {}, key = pair.privateKey } = {}) => {
    const payload = {
      jti: randomUUID(), htm: method, htu: url.split('?')[0], iat: Math.floor(Date.now() / 1000), nonce, ath, ...claims,
    }
    const octets = new TextEncoder().encode(JSON.stringify(payload))
    return new jose.CompactSign(octets).setProtectedHeader({ typ: 'dpop+jwt', alg, jwk, ...header }).sign(key)
  }
  return { pair, jwk, jkt: await jose.calculateJwkThumbprint(jwk), prove }
}

async function hash(accessToken) {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(accessToken))
  return jose.base64url.encode(new Uint8Array(digest))
}

for (const alg of ALGORITHMS) {
  test(`a proof by hand: ${alg}`, async () => {
    const { jkt, prove } = await holder(alg)
    const accessToken = await token(server, (method, url, nonce) => prove(method, url, { nonce }))
    assert.deepEqual(jose.decodeJwt(accessToken).cnf, { jkt })
    const ath = await hash(accessToken)
    const url = `${server.url}/orders?page=2`
    await assertAdmitted(await get(url, accessToken, (method, to, nonce) => prove(method, to, { nonce, ath })), jkt)
  })
}

// One thing wrong in each; the nonce is right, so that nothing else refuses it.
test('hostile proofs by hand are refused, each for its reason', async (t) => {
  const { pair, jwk, prove } = await holder('ES256')
  const thief = await holder('ES256')
  const accessToken = await token(server, (method, url, nonce) => prove(method, url, { nonce }))
  const ath = await hash(accessToken)
  const url = `${server.url}/orders`
  const privateJwk = await jose.exportJWK(pair.privateKey)
  const secret = new TextEncoder().encode(JSON.stringify(jwk))
  const good = (nonce) => ({ nonce, ath })
  const cases = {
    'htm.mismatch': (nonce) => prove('POST', url, good(nonce)),
    'htu.mismatch': (nonce) => prove('GET', `${server.url}/others`, good(nonce)),
    'ath.missing': (nonce) => prove('GET', url, { nonce }),
    'ath.mismatch': async (nonce) => prove('GET', url, { nonce, ath: await hash('another') }),
    'typ.invalid': (nonce) => prove('GET', url, { ...good(nonce), header: { typ: 'JWT' } }),
    'alg.forbidden': (nonce) => prove('GET', url, { ...good(nonce), header: { alg: 'HS256' }, key: secret }),
    'key.missing': (nonce) => prove('GET', url, { ...good(nonce), header: { jwk: undefined } }),
    'key.private': (nonce) => prove('GET', url, { ...good(nonce), header: { jwk: privateJwk } }),
    'key.mismatch': (nonce) => thief.prove('GET', url, good(nonce)),
    'signature.invalid': (nonce) => prove('GET', url, { ...good(nonce), key: thief.pair.privateKey }),
    'jti.invalid': (nonce) => prove('GET', url, { ...good(nonce), claims: { jti: '' } }),
    'iat.invalid': (nonce) => prove('GET', url, { ...good(nonce), claims: { iat: 'now' } }),
    'nonce.unknown': () => prove('GET', url, good('of-another-server')),
    'exp.past': (nonce) => prove('GET', url, { ...good(nonce), claims: { exp: 1_700_000_000 } }),
  }
  for (const [reason, make] of Object.entries(cases)) {
    await t.test(reason, async () => {
      const answer = await get(url, accessToken, (_method, _url, nonce) => make(nonce))
      assert.equal(answer.status, 401)
      assert.equal((await answer.json()).reason, reason)
      assert.match(answer.headers.get('www-authenticate'), /DPoP .*error="(invalid_dpop_proof|invalid_token|use_dpop_nonce)"/)
    })
  }
  await t.test('replay.seen', async () => {
    let last
    const prover = async (_method, _url, nonce) => { last = await prove('GET', url, good(nonce)); return last }
    assert.equal((await get(url, accessToken, prover)).status, 200)
    const again = await get(url, accessToken, () => last)
    assert.deepEqual([again.status, (await again.json()).reason], [401, 'replay.seen'])
  })
})
