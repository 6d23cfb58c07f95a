// The description of the issuer's administration is OpenAPI 3.1, by the words of a validator that others use.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { Validator } from '@seriousme/openapi-schema-validator'

const document = JSON.parse(readFileSync(new URL('../../docs/admin-openapi.json', import.meta.url)))

test('the description is OpenAPI 3.1', async () => {
  const validator = new Validator()
  const { valid, errors } = await validator.validate(structuredClone(document))
  assert.ok(valid, JSON.stringify(errors))
  assert.equal(validator.version, '3.1')
})

test('the validator would say if it were not', async () => {
  const broken = structuredClone(document)
  broken.paths['/v1/clients'].post.responses = 'none'
  const { valid } = await new Validator().validate(broken)
  assert.equal(valid, false)
})
