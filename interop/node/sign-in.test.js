// Other ways to sign in than a password, in a real Chromium: passkeys with its virtual authenticator, and `oidc-provider` as the
// provider whose users come.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'

import * as oauth from 'oauth4webapi'
import { Provider } from 'oidc-provider'
import { chromium } from 'playwright-core'

import { PERSON, SECRET, freePort, start } from './keybound.js'

const plain = { [oauth.allowInsecureRequests]: true }
const client = { client_id: 'app' }

/** The port of a provider that is not there. */
const nobody = 1

let issuer, app, provider, browser
before(async () => {
  app = await listen((request, response) => {
    app.called.push(new URL(request.url, app.url))
    response.end('home')
  })
  app.called = []
  // Passkeys are for hosts with a name.
  const url = `http://localhost:${await freePort()}`
  provider = await provide(url)
  issuer = await issue(url)
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
  })
})
after(async () => {
  await browser?.close()
  for (const each of [app, provider]) {
    each?.server.close()
    each?.server.closeAllConnections()
  }
  await issuer?.stop()
})

async function listen(answer) {
  const server = createServer(answer)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, url: `http://127.0.0.1:${server.address().port}` }
}

/** `oidc-provider`, whose users are whoever they say they are. */
async function provide(home) {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${server.address().port}`
  const back = (name) => `${home}/sign-in/from/${name}`
  const of = (client_id, names) => ({
    client_id, client_secret: SECRET, redirect_uris: names.map(back), response_types: ['code'], grant_types: ['authorization_code'],
  })
  const oidc = new Provider(url, {
    clients: [of('keybound', ['work', 'guests'])],
    claims: { openid: ['sub'], profile: ['name'] },
    scopes: ['openid', 'profile'],
    features: { devInteractions: { enabled: true } },
    pkce: { required: () => true },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, name: `${id} of elsewhere` }) }),
    conformIdTokenClaims: false,
    cookies: { keys: ['interop'] },
  })
  server.on('request', oidc.callback())
  return { server, url }
}

/** The issuer alone, with one user of its own. */
async function issue(url) {
  const directory = await mkdtemp(join(tmpdir(), 'keybound-interop-'))
  const provided = (name, shown, of, more = '') => `
[[authorization_server.sign_in]]
name = "${name}"
issuer = "${of}"
client_id = "keybound"
client_secret = "${SECRET}"
shown = "${shown}"
scope = ["profile"]
${more}`
  await writeFile(join(directory, 'keybound.toml'), `
[listen]
address = "127.0.0.1:${new URL(url).port}"
admin = "127.0.0.1:0"
[authorization_server]
url = "${url}"
store = "sqlite:issuer.db"
audience = ["https://api.example.com"]
[[authorization_server.client]]
client_id = "app"
token_endpoint_auth_method = "none"
grant_types = ["authorization_code"]
redirect_uris = ["http://127.0.0.1/back"]
scope = ["openid"]
[[authorization_server.user]]
username = "${PERSON.username}"
password_hash = "${PERSON.hash}"
${provided('work', 'Example Inc.', provider.url)}
${provided('guests', 'Guests', provider.url, 'users = "create"')}
${provided('gone', 'Gone Ltd.', `http://127.0.0.1:${nobody}`)}
`)
  return { url, ...await start('issuer', directory) }
}

/** A new browser, with an authenticator that says yes, and what our pages complain of. */
async function visitor() {
  const context = await browser.newContext()
  const complaints = []
  context.on('console', (message) => {
    if (message.location().url.startsWith(issuer.url)) complaints.push(message.text())
  })
  const page = await context.newPage()
  const cdp = await context.newCDPSession(page)
  await cdp.send('WebAuthn.enable', { enableUI: false })
  const options = {
    protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
    automaticPresenceSimulation: true,
  }
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', { options })
  return { context, complaints, page, cdp, authenticatorId }
}

/** Comes with an authorization request; what the client makes of the answer: `sub`. */
async function come(page, more = {}) {
  const response = await oauth.discoveryRequest(new URL(issuer.url), { algorithm: 'oauth2', ...plain })
  const as = await oauth.processDiscoveryResponse(new URL(issuer.url), response)
  const verifier = oauth.generateRandomCodeVerifier()
  const state = oauth.generateRandomState()
  const redirect = `${app.url}/back`
  const url = new URL(as.authorization_endpoint)
  url.search = new URLSearchParams({
    ...client, response_type: 'code', redirect_uri: redirect, scope: 'openid', state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256', ...more,
  })
  await page.goto(url.href)
  return async () => {
    await page.waitForURL(`${app.url}/back?**`)
    const parameters = oauth.validateAuthResponse(as, client, new URL(page.url()), state)
    const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))
    const request = () => oauth.authorizationCodeGrantRequest(as, client, oauth.None(), parameters, redirect, verifier, { DPoP, ...plain })
    const process = (response) => oauth.processAuthorizationCodeResponse(as, client, response)
    let tokens
    try {
      tokens = await process(await request())
    } catch (error) {
      if (!oauth.isDPoPNonceError(error)) throw error
      tokens = await process(await request())
    }
    return oauth.getValidatedIdTokenClaims(tokens).sub
  }
}

async function byPassword(page) {
  await page.getByLabel('User name').fill(PERSON.username)
  await page.getByLabel('Password').fill(PERSON.password)
  await page.getByRole('button', { name: 'Sign in', exact: true }).click()
}

const heading = (page, name) => page.getByRole('heading', { level: 1, name }).waitFor()
const allow = (page) => page.getByRole('button', { name: 'Allow' }).click()

/** Signs in at `oidc-provider` as whoever it is. */
async function elsewhere(page, who) {
  await page.waitForURL(`${provider.url}/**`)
  await page.locator('input[name=login]').fill(who)
  await page.locator('input[name=password]').fill('any')
  await page.getByRole('button', { name: 'Sign-in' }).click()
  await page.getByRole('button', { name: 'Continue' }).click()
}

/** Where the tests leave pictures, if somebody wants to look. */
async function picture(page, name) {
  if (process.env.PICTURES) await page.screenshot({ path: join(process.env.PICTURES, `${name}.png`), fullPage: true })
}

/** For a page, in place of what the browser offers for the name: that takes time to begin, and this authenticator would say yes
 * to it at once. It goes on until it is given up, and there is no other request before, as in a browser. */
function offersNothing() {
  const get = navigator.credentials.get.bind(navigator.credentials)
  let offered
  navigator.credentials.get = (options) => {
    if (options.mediation === 'conditional') {
      offered = options.signal
      return new Promise(() => {})
    }
    return offered && !offered.aborted ? Promise.reject(new Error('another is under way')) : get(options)
  }
}

describe('passkeys in Chromium', () => {
  test('is made by whoever has signed in, signs in without a name, and is removed', async () => {
    const { context, complaints, page, cdp, authenticatorId } = await visitor()
    await context.addInitScript(offersNothing)
    await page.goto(`${issuer.url}/account`)
    await byPassword(page)
    await heading(page, 'Your account')
    await page.getByLabel('Name of a new passkey').fill('Laptop <1>')
    await picture(page, 'account')
    await page.getByRole('button', { name: 'Add a passkey' }).click()
    await page.getByRole('status').waitFor()
    await page.getByText('Laptop <1>').waitFor()
    await picture(page, 'account-passkey')
    const { credentials } = await cdp.send('WebAuthn.getCredentials', { authenticatorId })
    assert.equal(credentials.length, 1)
    assert.deepEqual([credentials[0].rpId, credentials[0].isResidentCredential], ['localhost', true])
    assert.equal(Buffer.from(credentials[0].userHandle, 'base64').length, 43 * 6 >> 3, 'a handle that says nothing')

    // The same device is not taken twice.
    await page.getByRole('button', { name: 'Add a passkey' }).click()
    await page.getByText('This device has a passkey of yours already.').waitFor()

    await context.clearCookies()
    const finish = await come(page)
    const button = page.getByRole('button', { name: 'Sign in with a passkey' })
    await button.waitFor()
    await picture(page, 'sign-in')
    await button.click()
    await heading(page, 'Allow app?')
    await allow(page)
    assert.equal(await finish(), PERSON.username)

    await page.goto(`${issuer.url}/account`)
    await page.getByRole('button', { name: 'Remove Laptop <1>' }).click()
    await page.getByText('The passkey is removed.').waitFor()
    await context.clearCookies()
    await come(page)
    await button.waitFor()
    await button.click()
    await page.getByText('That passkey is not known here.').waitFor()
    await picture(page, 'sign-in-unknown')
    assert.deepEqual(complaints, [], 'no policy is in its own way')
    await context.close()
  })

  test('is among what the browser offers for the name', async () => {
    const { context, page } = await visitor()
    await page.goto(`${issuer.url}/account`)
    await byPassword(page)
    await heading(page, 'Your account')
    await page.getByRole('button', { name: 'Add a passkey' }).click()
    await page.getByRole('status').waitFor()
    await context.clearCookies()
    const finish = await come(page)
    // Nobody presses anything: the authenticator stands for the one who chooses the passkey.
    await heading(page, 'Allow app?')
    await allow(page)
    assert.equal(await finish(), PERSON.username)
    await context.close()
  })

  test('nobody who is not recognized signs in', async () => {
    const { context, page, cdp, authenticatorId } = await visitor()
    await cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false })
    await page.goto(`${issuer.url}/account`)
    await byPassword(page)
    await heading(page, 'Your account')
    await page.getByRole('button', { name: 'Add a passkey' }).click()
    await page.getByText('No passkey was made.').waitFor()
    const { credentials } = await cdp.send('WebAuthn.getCredentials', { authenticatorId })
    assert.equal(credentials.length, 0)
    await context.close()
  })

  test('a form of another challenge is refused', async () => {
    const { context, page } = await visitor()
    await page.goto(`${issuer.url}/account`)
    await byPassword(page)
    await heading(page, 'Your account')
    await page.locator('#new-passkey').evaluate((form) => {
      form.dataset.challenge = 'A'.repeat(43)
    })
    await page.getByRole('button', { name: 'Add a passkey' }).click()
    await page.getByText('The passkey could not be added.').waitFor()
    await context.close()
  })
})

describe('another provider in Chromium', () => {
  test('a user of it becomes one here, and is known again', async () => {
    const { context, complaints, page } = await visitor()
    const finish = await come(page)
    await page.getByRole('button', { name: 'Sign in with Guests' }).click()
    await elsewhere(page, 'carol')
    await heading(page, 'Allow app?')
    await page.getByText('carol of elsewhere').waitFor()
    await picture(page, 'from-elsewhere')
    await allow(page)
    const subject = await finish()
    assert.match(subject, /^[\w-]{22}$/, 'a name of ours, not of theirs')
    assert.deepEqual(complaints, [])
    await context.close()

    const { context: other, page: again } = await visitor()
    const finishAgain = await come(again, { prompt: 'login' })
    await again.getByRole('button', { name: 'Sign in with Guests' }).click()
    await elsewhere(again, 'carol')
    await allow(again)
    assert.equal(await finishAgain(), subject)
    await other.close()
  })

  test('an account that nobody connected is nobody, until its user connects it', async () => {
    const { context, page } = await visitor()
    const finish = await come(page)
    await page.getByRole('button', { name: 'Sign in with Example Inc.' }).click()
    await elsewhere(page, 'alice')
    await page.getByText('Your account at Example Inc. is connected with none here.').waitFor()
    await picture(page, 'unconnected')
    await page.goto(`${issuer.url}/account`)
    await byPassword(page)
    await page.getByRole('button', { name: 'Connect Example Inc.' }).click()
    await page.getByText('The account is connected.').waitFor()
    await picture(page, 'account-connected')
    await context.clearCookies({ domain: 'localhost' })
    const finishAgain = await come(page)
    await page.getByRole('button', { name: 'Sign in with Example Inc.' }).click()
    await heading(page, 'Allow app?')
    await allow(page)
    assert.equal(await finishAgain(), PERSON.username)
    assert.equal(typeof finish, 'function')
    await context.close()
  })

  test('one that does not answer is said so, with the other ways beside it', async () => {
    const { context, page } = await visitor()
    const finish = await come(page)
    await page.getByRole('button', { name: 'Sign in with Gone Ltd.' }).click()
    await page.getByText('Gone Ltd. does not answer at the moment.').waitFor()
    await page.getByRole('button', { name: 'Sign in with Guests' }).waitFor()
    await picture(page, 'silent')
    await byPassword(page)
    await allow(page)
    assert.equal(await finish(), PERSON.username)
    await context.close()
  })

  test('what comes back is good once, in the browser that left, and from that provider', async () => {
    const { context, page, cdp } = await visitor()
    await come(page)
    const held = new Promise((resolve) => {
      cdp.on('Fetch.requestPaused', async ({ requestId, request }) => {
        await cdp.send('Fetch.fulfillRequest', { requestId, responseCode: 200, body: btoa('held back') })
        resolve(request.url)
      })
    })
    await cdp.send('Fetch.enable', { patterns: [{ urlPattern: `${issuer.url}/sign-in/from/*` }] })
    await page.getByRole('button', { name: 'Sign in with Guests' }).click()
    await elsewhere(page, 'mallory')
    const back = await held
    await page.getByText('held back').waitFor()
    await cdp.send('Fetch.disable')

    const over = 'this sign-in is over'
    const { context: victim, page: other } = await visitor()
    await come(other)
    await other.goto(back)
    await other.getByText(over).waitFor()
    await victim.close()
    await page.goto(back.replace('/guests?', '/work?'))
    await page.getByText(over).waitFor()
    await page.goto(back)
    await heading(page, 'Allow app?')
    await page.goto(back)
    await page.getByText(over).waitFor()
    await context.close()
  })

  test('a no there, and what it says of it, is no page of theirs here', async () => {
    const { context, page } = await visitor()
    await come(page)
    let state
    await page.route(`${provider.url}/auth?**`, (route) => {
      state = new URL(route.request().url()).searchParams.get('state')
      return route.fulfill({ body: 'there' })
    })
    await page.getByRole('button', { name: 'Sign in with Guests' }).click()
    await page.getByText('there').waitFor()
    const answer = new URLSearchParams({ state, iss: provider.url, error: 'access_denied', error_description: '<b>call us</b>' })
    await page.goto(`${issuer.url}/sign-in/from/guests?${answer}`)
    await page.getByText('You did not sign in with Guests.').waitFor()
    assert.ok(!(await page.content()).includes('call us'))
    await context.close()
  })
})
