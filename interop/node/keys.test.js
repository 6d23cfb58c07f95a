// `jose` verifies what the issuer signs, by every algorithm that can be set, and across a rotation.

import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import * as jose from 'jose'

import { serve } from './keybound.js'

for (const alg of ['ES256', 'ES384', 'Ed25519', 'EdDSA', 'PS256']) {
  describe(`tokens signed by ${alg}`, async () => {
    const server = await serve('off', { signs: alg })
    after(() => server.stop())
    const metadata = await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json()
    // What it has fetched once: it looks again only when a key is not in it, and that is counted.
    let fetched = 0
    const keys = jose.createRemoteJWKSet(new URL(metadata.jwks_uri), {
      [jose.customFetch]: (...request) => {
        fetched += 1
        return fetch(...request)
      },
    })
    const token = async () => {
      const words = ['token', '--issuer', server.issuer.href, '--client-id', 'basic', '--scope', 'read', '--fresh', '--json']
      const said = await server.run(...words)
      assert.equal(said.status, 0, said.stderr)
      return JSON.parse(said.stdout).access_token
    }
    const verified = async () => {
      const options = { issuer: server.issuer.href, audience: server.url, typ: 'at+jwt', algorithms: [alg] }
      return (await jose.jwtVerify(await token(), keys, options)).protectedHeader
    }
    const key = async (...words) => {
      const said = await server.run('issuer', 'key', ...words, '--config', 'keybound.toml', '--json')
      assert.equal(said.status, 0, said.stderr)
      return JSON.parse(said.stdout)
    }

    test('are what the metadata says, and verify', async () => {
      assert.deepEqual(metadata.id_token_signing_alg_values_supported, [alg])
      const { kid } = await verified()
      assert.equal(kid, (await key('list'))[0].kid)
    })

    test('verify after a rotation with the set that was fetched before', async () => {
      const [{ kid: stolen }, { kid: next }] = await key('list')
      await verified()
      const before = fetched
      await key('rotate', '--revoke', stolen)
      for (let kid = stolen; kid !== next; await sleep(200)) ({ kid } = await verified())
      assert.equal(fetched, before)
      const set = await (await fetch(metadata.jwks_uri)).json()
      assert.ok(!set.keys.some(({ kid }) => kid === stolen))
    })
  })
}
