#!/usr/bin/env node
// A browser whose user says yes to everything: it opens a page, and sends each form it finds, until none is left.

import { pathToFileURL } from 'node:url'

/** Opens `url`, and fills in `fields` where a form has a place for them. Where it ended. */
export async function browse(url, fields = {}) {
  const cookies = new Map()
  let request = { url, method: 'GET' }
  for (let page = 0; page < 30; page++) {
    const answer = await fetch(request.url, {
      method: request.method, body: request.body, redirect: 'manual',
      headers: { Cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
    })
    for (const line of answer.headers.getSetCookie()) {
      const [pair] = line.split(';')
      cookies.set(pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1))
    }
    const location = answer.headers.get('location')
    const text = await answer.text()
    if (location) {
      request = { url: new URL(location, request.url), method: 'GET' }
      continue
    }
    const form = /<form[^>]*>[^]*?<\/form>/.exec(text)?.[0]
    if (!form) return { status: answer.status, text, url: String(request.url) }
    request = filled(form, request.url, fields)
  }
  throw new Error('the pages do not end')
}

function filled(form, from, fields) {
  const action = /action="([^"]*)"/.exec(form)?.[1].replaceAll('&amp;', '&') ?? ''
  const body = new URLSearchParams()
  for (const [input] of form.matchAll(/<input[^>]*>/g)) {
    const name = /name="([^"]*)"/.exec(input)?.[1]
    const value = /value="([^"]*)"/.exec(input)?.[1]
    if (name) body.set(name, fields[name] ?? value ?? 'user')
  }
  // The first button is the one that the enter key presses.
  const [, name, value] = /<button name="([^"]*)" value="([^"]*)"/.exec(form) ?? []
  if (name) body.set(name, fields[name] ?? value)
  return { url: new URL(action, from), method: 'POST', body }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await browse(process.argv[2])
