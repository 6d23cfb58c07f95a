// The pages on which people sign in, in a real Chromium: without scripts, by keyboard alone, and as `oauth4webapi` needs them.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { after, before, describe, test } from 'node:test'

import * as oauth from 'oauth4webapi'
import { chromium } from 'playwright-core'

import { PERSON, REDIRECT, serve } from './keybound.js'

const plain = { [oauth.allowInsecureRequests]: true }
const client = { client_id: 'app' }

let server, app, home, browser
before(async () => {
  server = await serve('offer', { people: true })
  home = await listen((request, response) => response.end('home'))
  app = await listen((request, response) => {
    if (request.url.startsWith('/frame')) {
      response.setHeader('Content-Type', 'text/html')
      return response.end(`<iframe src="${decodeURIComponent(request.url.slice('/frame?'.length))}"></iframe>`)
    }
    // A client that lives at two origins: its callback sends the browser on.
    response.writeHead(302, { Location: home.url.replace('127.0.0.1', 'localhost') })
    app.called.push(new URL(request.url, app.url))
    response.end()
  })
  app.called = []
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
  })
})
after(async () => {
  await browser?.close()
  for (const each of [app, home]) each?.server.close()
  await server?.stop()
})

async function listen(answer) {
  const server = createServer(answer)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, url: `http://127.0.0.1:${server.address().port}` }
}

async function discover() {
  const response = await oauth.discoveryRequest(server.issuer, { algorithm: 'oauth2', ...plain })
  return oauth.processDiscoveryResponse(server.issuer, response)
}

/** An authorization request of the client `app`. */
async function begin(as, scope = 'openid read') {
  const verifier = oauth.generateRandomCodeVerifier()
  const state = oauth.generateRandomState()
  const nonce = oauth.generateRandomNonce()
  const pair = await oauth.generateKeyPair('ES256')
  const DPoP = oauth.DPoP(client, pair)
  const redirect = `${app.url}/back`
  const url = new URL(as.authorization_endpoint)
  url.search = new URLSearchParams({
    ...client, response_type: 'code', redirect_uri: redirect, scope, state, nonce,
    dpop_jkt: await DPoP.calculateThumbprint(),
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  })
  return { url: url.href, verifier, state, nonce, DPoP, redirect }
}

/** What the client does with the address the browser came to: bound tokens, and a request with them. */
async function finish(as, { verifier, state, nonce, DPoP, redirect }, called) {
  const parameters = oauth.validateAuthResponse(as, client, called, state)
  const request = () =>
    oauth.authorizationCodeGrantRequest(as, client, oauth.None(), parameters, redirect, verifier, { DPoP, ...plain })
  const process = (response) => oauth.processAuthorizationCodeResponse(as, client, response, { expectedNonce: nonce })
  const tokens = await retried(async () => process(await request()))
  assert.equal(tokens.token_type, 'dpop')
  const answer = await retried(() =>
    oauth.protectedResourceRequest(tokens.access_token, 'GET', new URL(`${server.url}/orders`), undefined, null, { DPoP, ...plain }))
  assert.equal(answer.status, 200)
  const { fields } = await answer.json()
  assert.equal(fields['keybound-subject'], PERSON.username)
  assert.equal(oauth.getValidatedIdTokenClaims(tokens).sub, PERSON.username)
}

async function retried(attempt) {
  try {
    return await attempt()
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return attempt()
  }
}

/** A new browser, which nobody has signed in with. What its pages complain of is collected. */
async function context(options) {
  const context = await browser.newContext(options)
  const complaints = []
  context.on('console', (message) => complaints.push(message.text()))
  return { context, complaints, page: await context.newPage() }
}

/** Sends the form, by whatever `send` does, and waits for the page with this heading. */
async function next(page, heading, send) {
  await send()
  await page.getByRole('heading', { level: 1, name: heading }).waitFor()
}

describe('people in Chromium', () => {
  for (const colorScheme of ['light', 'dark']) {
    test(`a whole flow without scripts, ${colorScheme}`, async () => {
      const as = await discover()
      const flow = await begin(as)
      const { context: own, complaints, page } = await context({ javaScriptEnabled: false, colorScheme })
      await page.goto(flow.url)
      await page.getByLabel('User name').fill(PERSON.username)
      await page.getByLabel('Password').fill('wrong')
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.getByRole('alert').waitFor()
      assert.match(await page.getByRole('alert').innerText(), /do not go together/)
      assert.equal(await page.getByLabel('User name').inputValue(), PERSON.username)
      assert.equal(await page.getByLabel('Password').inputValue(), '')
      await page.getByLabel('Password').fill(PERSON.password)
      await next(page, 'Allow app?', () => page.getByRole('button', { name: 'Sign in' }).click())
      assert.match(await page.locator('main').innerText(), /Alice Liddell/)
      await page.getByRole('button', { name: 'Allow' }).click()
      await page.getByText('home').waitFor()
      await finish(as, flow, app.called.pop())
      assert.deepEqual(complaints, [], 'nothing broke the policy of a page')
      await own.close()
    })
  }

  test('by keyboard alone', async () => {
    const as = await discover()
    const flow = await begin(as)
    const { context: own, complaints, page } = await context()
    const focused = () => page.evaluate(() => document.activeElement.name + '=' + document.activeElement.value)
    const type = (text) => page.keyboard.type(text)
    await page.goto(flow.url)
    assert.equal(await focused(), 'username=', 'the first thing to fill in')
    await type(PERSON.username)
    await page.keyboard.press('Tab')
    assert.equal(await focused(), 'password=')
    await type(PERSON.password)
    await next(page, 'Allow app?', () => page.keyboard.press('Enter'))
    const order = []
    for (let stop = 0; stop < 3; stop++) {
      await page.keyboard.press('Tab')
      order.push(await focused())
    }
    assert.deepEqual(order, ['step=allow', 'step=deny', 'step=switch'])
    await page.keyboard.press('Shift+Tab')
    await page.keyboard.press('Shift+Tab')
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineWidth)
    assert.equal(outline, '3px', 'it can be seen where one is')
    await page.keyboard.press('Enter')
    await page.getByText('home').waitFor()
    await finish(as, flow, app.called.pop())
    assert.deepEqual(complaints, [])
    await own.close()
  })

  test('a device, and the end of the session', async () => {
    const as = await discover()
    const response = await oauth.deviceAuthorizationRequest(as, client, oauth.None(), { scope: 'read' }, plain)
    const codes = await oauth.processDeviceAuthorizationResponse(as, client, response)
    const { context: own, complaints, page } = await context({ javaScriptEnabled: false })
    await page.goto(codes.verification_uri_complete)
    await page.getByLabel('User name').fill(PERSON.username)
    await page.getByLabel('Password').fill(PERSON.password)
    await next(page, 'Connect a device', () => page.keyboard.press('Enter'))
    assert.equal(await page.getByLabel('Code').inputValue(), codes.user_code)
    await next(page, 'Allow app on a device?', () => page.keyboard.press('Enter'))
    assert.match(await page.locator('.caution').innerText(), /Is it a device in front of you\?/)
    await next(page, 'Your device is connected', () => page.getByRole('button', { name: 'Allow' }).click())
    const pair = await oauth.generateKeyPair('ES256')
    const DPoP = oauth.DPoP(client, pair)
    const tokens = await retried(async () => {
      const answer = await oauth.deviceCodeGrantRequest(as, client, oauth.None(), codes.device_code, { DPoP, ...plain })
      return oauth.processDeviceCodeResponse(as, client, answer)
    })
    assert.equal(tokens.token_type, 'dpop')
    await page.goto(as.end_session_endpoint)
    await next(page, 'You are signed out', () => page.getByRole('button', { name: 'Sign out' }).click())
    const { url } = await begin(as)
    await page.goto(url)
    await page.getByRole('heading', { name: 'Sign in' }).waitFor()
    assert.deepEqual(complaints, [])
    await own.close()
  })

  test('nobody frames a page', async () => {
    const { url } = await begin(await discover())
    const { context: own, complaints, page } = await context()
    await page.goto(`${app.url}/frame?${encodeURIComponent(url)}`)
    const frame = page.frames()[1]
    assert.equal(await frame.locator('input').count(), 0)
    assert.match(complaints.join(), /frame-ancestors|X-Frame-Options/)
    await own.close()
  })

  // Whatever might be planted in a page: its form leads to the issuer, and on to where clients of this kind are.
  test('forms lead nowhere else', async () => {
    const as = await discover()
    const { url } = await begin(as)
    const far = new URL(url)
    far.searchParams.set('redirect_uri', REDIRECT)
    const response = await oauth.deviceAuthorizationRequest(as, client, oauth.None(), { scope: 'read' }, plain)
    const codes = await oauth.processDeviceAuthorizationResponse(as, client, response)
    const stray = app.url.replace('127.0.0.1', '127.0.0.2')
    for (const [at, action] of [
      [url, stray], // a client on this machine
      [url, 'com.example.other:/back'],
      [far.href, app.url], // one that is reached by https
      [codes.verification_uri_complete, app.url], // a device, whose person goes nowhere from here
      [codes.verification_uri_complete, REDIRECT],
    ]) {
      const { context: own, page } = await context()
      await page.goto(at)
      await page.getByRole('heading', { name: 'Sign in' }).waitFor()
      const complaint = own.waitForEvent('console', { predicate: (message) => message.text().includes('form-action'), timeout: 30_000 })
      const [before, called] = [page.url(), app.called.length]
      await page.evaluate((action) => {
        const form = document.body.appendChild(document.createElement('form'))
        Object.assign(form, { method: 'post', action })
        form.submit()
      }, action)
      await complaint
      assert.deepEqual([page.url(), app.called.length], [before, called], `${action} from ${at}`)
      await own.close()
    }
  })

  test('it fits a phone, and can be read', async () => {
    const as = await discover()
    for (const colorScheme of ['light', 'dark']) {
      const { context: own, page } = await context({ colorScheme, viewport: { width: 375, height: 667 } })
      const look = async () => {
        const seen = await page.evaluate(inspect)
        assert.ok(seen.width <= 375, `${seen.width} px wide`)
        assert.deepEqual(seen.faint, [], `${colorScheme}: ${await page.title()}`)
        assert.deepEqual(seen.small, [], `${colorScheme}: ${await page.title()}`)
        assert.deepEqual([seen.lang, seen.headings, seen.unnamed], ['en', 1, 0], await page.title())
      }
      await page.goto((await begin(as)).url)
      await look()
      await page.getByLabel('User name').fill(PERSON.username)
      await page.getByLabel('Password').fill('wrong')
      await page.keyboard.press('Enter')
      await page.getByRole('alert').waitFor()
      await look()
      await page.getByLabel('Password').fill(PERSON.password)
      await next(page, 'Allow app?', () => page.keyboard.press('Enter'))
      await look()
      await page.goto(`${server.issuer}/device`)
      await look()
      await page.goto(`${server.issuer}/logout`)
      await look()
      await page.goto(`${server.issuer}/authorize`)
      await look()
      await own.close()
    }
  })
})

/** Runs in the page: what of it is hard to read or to use (WCAG 2.2, 1.4.3 and 2.5.8). */
function inspect() {
  const numbers = (color) => color.match(/[\d.]+/g).map(Number)
  const luminance = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((part) => part / 255).map((part) =>
      part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = numbers(getComputedStyle(at).backgroundColor)
      if (color.length === 3 || color[3] === 1) return color
    }
    return [255, 255, 255]
  }
  const faint = []
  for (const element of document.body.querySelectorAll('*')) {
    const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim())
    if (!own || element instanceof SVGElement) continue
    const [front, back] = [numbers(getComputedStyle(element).color), behind(element)].map(luminance)
    const contrast = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05)
    if (contrast < 4.5) faint.push(`${element.textContent.trim()}: ${contrast.toFixed(2)}`)
  }
  const controls = [...document.querySelectorAll('input:not([type=hidden]), button')]
  return {
    faint,
    small: controls.filter((control) => control.getBoundingClientRect().height < 24).map((control) => control.outerHTML),
    width: document.documentElement.scrollWidth,
    lang: document.documentElement.lang,
    headings: document.querySelectorAll('h1').length,
    unnamed: controls.filter((control) => !control.labels?.length && !control.textContent.trim()).length,
  }
}
