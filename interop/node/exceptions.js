// What a peer is known to do otherwise. A difference that closes fails too, so that the list stays true.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

const EXCEPTIONS = new Map(
  JSON.parse(readFileSync(new URL('exceptions.json', import.meta.url), 'utf8')).map(({ peer, name, why }) => {
    assert.ok(peer && name && why, 'an exception has a peer, a case and a reason')
    return [`${peer}: ${name}`, why]
  }),
)
const used = new Set()

/** The peer refuses: `attempt` fails. Unless it is known that this peer does not. */
export async function refuses(peer, name, attempt) {
  const why = EXCEPTIONS.get(`${peer}: ${name}`)
  used.add(`${peer}: ${name}`)
  let refusal
  try {
    await attempt()
  } catch (error) {
    refusal = error
  }
  if (why === undefined) assert.ok(refusal, `${peer} accepted: ${name}`)
  else assert.equal(refusal, undefined, `${peer} refuses now: ${name}; strike the exception (${why})`)
}

/** Every exception for these peers belongs to a case. */
export function assertAllUsed(...peers) {
  const unused = [...EXCEPTIONS.keys()].filter((key) => peers.includes(key.split(': ')[0]) && !used.has(key))
  assert.deepEqual(unused, [], 'exceptions without a case')
}
