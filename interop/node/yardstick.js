// `oidc-provider` as it is beside keybound's issuer in `cargo xtask figures issuer`: on this port, in memory, with DPoP, and one
// client that gets JWTs signed by ES256 for itself.

import { createServer } from 'node:http'

import * as jose from 'jose'
import { Provider } from 'oidc-provider'

const [port, secret, audience] = process.argv.slice(2)
const signing = await jose.exportJWK((await jose.generateKeyPair('ES256', { extractable: true })).privateKey)
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'bench', client_secret: secret, grant_types: ['client_credentials'], response_types: [], redirect_uris: [],
    dpop_bound_access_tokens: true, id_token_signed_response_alg: 'ES256', scope: 'read',
  }],
  jwks: { keys: [{ ...signing, alg: 'ES256', use: 'sig' }] },
  scopes: ['read'],
  // As long as ours.
  ttl: { ClientCredentials: 300 },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    dPoP: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      getResourceServerInfo: () => ({ audience, scope: 'read', accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }),
    },
  },
})
createServer(provider.callback()).listen(Number(port), '127.0.0.1')
