// The least of a client: sends what it is given and, where a nonce is demanded, once again with it.

import assert from 'node:assert/strict'

import { SECRET } from './keybound.js'

/** Sends the request that `make` builds for a nonce; the answer, after at most one retry. */
async function withNonce(make) {
  const first = await make(undefined)
  const demanded = first.headers.get('dpop-nonce')
  const challenge = first.headers.get('www-authenticate') ?? await first.clone().text()
  if (!demanded || !challenge.includes('use_dpop_nonce')) return first
  return make(demanded)
}

/** A token of the client `basic`. `prove` makes a proof: (method, url, nonce) to its text. */
export async function token(server, prove) {
  const url = `${server.issuer}/token`
  const answer = await withNonce(async (nonce) => fetch(url, {
    method: 'POST',
    headers: { Authorization: `Basic ${btoa(`basic:${SECRET}`)}`, DPoP: await prove('POST', url, nonce) },
    body: new URLSearchParams({ grant_type: 'client_credentials' }),
  }))
  const body = await answer.json()
  assert.equal(answer.status, 200, JSON.stringify(body))
  assert.equal(body.token_type, 'DPoP')
  return body.access_token
}

/** What the gateway answers to a GET with this token. `prove` as above. */
export function get(url, accessToken, prove) {
  return withNonce(async (nonce) => fetch(url, {
    headers: { Authorization: `DPoP ${accessToken}`, DPoP: await prove('GET', url, nonce) },
  }))
}

/** The upstream was reached, and knows who calls. */
export async function assertAdmitted(answer, jkt) {
  const text = await answer.text()
  assert.equal(answer.status, 200, `${answer.headers.get('www-authenticate')} ${text}`)
  const { fields } = JSON.parse(text)
  assert.equal(fields['keybound-jkt'], jkt)
  assert.equal(fields['keybound-client'], 'basic')
  assert.equal(fields.dpop, undefined, 'the proof was passed on')
  assert.equal(fields.authorization, undefined, 'the token was passed on')
}
