// `keybound token` and `keybound request` by every grant that `oidc-provider` knows and by token exchange, with nonces off, optional
// and required, and tokens of both formats; JWTs are taken by `express-oauth2-jwt-bearer`.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'

import * as jose from 'jose'

import { browse } from './browser.js'
import { provide } from './provider.js'

for (const nonces of ['off', 'optional', 'required']) {
  for (const format of ['jwt', 'opaque']) {
    describe(`nonces ${nonces}, tokens ${format}`, () => {
      let as
      before(async () => { as = await provide(nonces, format) })
      after(() => as.stop())

      const access = (client, ...more) => ['--issuer', as.issuer, '--client-id', client, '--resource', as.api.url, '--scope', 'read', ...more]

      /** What a command printed that ended well. */
      async function good(...words) {
        const said = await as.run(...words)
        assert.equal(said.status, 0, said.stderr)
        return said.stdout
      }

      async function token(...words) {
        const answer = JSON.parse(await good('token', '--json', ...words))
        assert.equal(answer.token_type, 'DPoP')
        assert.equal(answer.scope, 'read')
        if (format === 'jwt') assert.equal(jose.decodeJwt(answer.access_token).cnf.jkt, answer.jkt)
        return answer
      }

      /** The API admits a request. Its library reads JWTs alone: opaque tokens are used at the issuer's own resource, below. */
      async function use(client, ...words) {
        if (format !== 'jwt') return
        const answer = JSON.parse(await good('request', ...access(client, ...words), `${as.api.url}/orders?page=1`))
        assert.equal(answer.client, client)
      }

      // The nonce of the issuer costs the first request of each run one retry, and no more.
      const counted = async (work, path = '/token') => {
        const before = as.requests.length
        await work()
        return as.requests.slice(before).filter((request) => request.path === path).map((request) => request.status)
      }

      // R-CLI-07, R-NONCE-19
      test('client credentials', async () => {
        const statuses = await counted(() => token(...access('job')))
        assert.deepEqual(statuses, nonces === 'required' ? [400, 200] : [200])
        await use('job')
      })

      // R-CLI-21, R-CLI-22: pushed, with dpop_jkt, which the issuer holds against the key of the token request
      test('a login with the system browser, and its session', async () => {
        const login = access('app', '--login')
        const pushed = await counted(() => token(...login), '/request')
        assert.deepEqual(pushed, nonces === 'required' ? [400, 201] : [201])
        await use('app', '--login')
        const first = await good('token', ...login)
        // R-CLI-08: without a browser, for the session goes on
        const logins = await counted(() => token(...login, '--fresh'), '/auth')
        assert.deepEqual(logins, [])
        assert.notEqual(await good('token', ...login), first)
        assert.notEqual(await good('token', ...login, '--fresh'), first, 'the newest refresh token is used')
        await use('app', '--login')
      })

      test('a login on another device', async () => {
        const statuses = await counted(async () => {
          const said = device(as, access('tv', '--device'))
          const [, url] = /without typing the code, at (\S+)/.exec(await said.until('without typing'))
          await browse(url)
          await said.end()
        })
        // While the user has not answered, the answer is 400; a nonce costs one more at most, and the last is the token.
        assert.equal(statuses.at(-1), 200)
        assert.ok(statuses.slice(0, -1).every((status) => status === 400), String(statuses))
        await token(...access('tv', '--device'))
        await use('tv', '--device')
      })

      // RFC 8693: from bearer to bound
      test('an exchange of tokens', async () => {
        const subject = await as.bearer()
        assert.equal(subject.token_type, 'Bearer')
        await as.write('subject', subject.access_token)
        const exchange = access('loose', '--exchange', 'subject')
        const statuses = await counted(() => token(...exchange))
        assert.deepEqual(statuses, nonces === 'required' ? [400, 200] : [200])
        await use('loose', '--exchange', 'subject')
        await as.write('subject', await good('token', ...exchange))
        const said = await as.run('token', ...exchange)
        assert.equal(said.status, 1)
        assert.match(said.stderr, /400 invalid_grant/)
      })
    })
  }
}

describe('userinfo', () => {
  let as
  before(async () => { as = await provide('required', 'opaque') })
  after(() => as.stop())

  // R-NONCE-18: an opaque token at the issuer's own resource, where both roles have nonces on one origin
  test('takes a bound token', async () => {
    const said = await as.run('request', '--issuer', as.issuer, '--client-id', 'app', '--login', '--scope', 'openid', '-w', ' %{num_attempts}', `${as.issuer}/me`)
    assert.equal(said.status, 0, said.stderr)
    assert.match(said.stdout, /^\{"sub":"user"\} 2$/)
  })

  test('is not read with the key of somebody else', async () => {
    const words = ['--issuer', as.issuer, '--client-id', 'app', '--login', '--scope', 'openid']
    const { stdout: token } = await as.run('token', ...words)
    await as.run('key', 'new', 'thief')
    const said = await as.run('request', '--key', 'thief', '--token', token, `${as.issuer}/me`)
    assert.equal(said.status, 1)
    assert.match(said.stderr, /401 Unauthorized/)
  })
})

/** A command that waits for its user. */
function device(as, words) {
  const child = as.spawn('token', ...words)
  const ended = new Promise((resolve) => { child.once('close', resolve) })
  let text = ''
  let heard = () => {}
  child.stderr.on('data', (data) => {
    text += data
    heard()
  })
  return {
    /** All it said, once it said this. */
    until: (wanted) => new Promise((resolve, reject) => {
      heard = () => { if (text.includes(wanted) && text.endsWith('\n')) resolve(text) }
      heard()
      ended.then(() => reject(new Error(`never said ${wanted}: ${text}`)))
    }),
    async end() {
      assert.equal(await ended, 0, text)
    },
  }
}
