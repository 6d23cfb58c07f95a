"""`requests_oauth2client` as client of every grant it knows and keybound's issuer has, with nonces off, offered and demanded.

It tries again by itself where a nonce is demanded. What it is known to do otherwise is a row of exceptions.json."""

import contextlib
import sys
import types
import unittest

import requests
from jwskate import Jwk, Jwt
from requests_oauth2client import (
    ClientSecretBasic,
    ClientSecretPost,
    DPoPKey,
    EndpointError,
    InvalidGrant,
    OAuth2Client,
    PrivateKeyJwt,
    PublicApp,
)

from keybound import EXCEPTIONS, REDIRECT, SECRET, Issuer

USED = set()


@contextlib.contextmanager
def case(name):
    """Passes, unless the peer is known not to: then it has to fail."""
    USED.add(name)
    if name not in EXCEPTIONS:
        yield
        return
    row = EXCEPTIONS[name]
    try:
        yield
    except Exception as error:
        assert type(error).__name__ == row["error"], f"{name} fails otherwise now: {error!r}"
        return
    raise AssertionError(f"{name} goes well now; strike the exception ({row['why']})")


class Grants:
    """The cases, for a class of each policy."""

    @classmethod
    def setUpClass(cls):
        cls.issuer = Issuer(cls.policy)

    @classmethod
    def tearDownClass(cls):
        cls.issuer.stop()

    def client(self, auth):
        url = f"{self.issuer.url}/.well-known/oauth-authorization-server"
        return OAuth2Client.from_discovery_endpoint(
            url,
            issuer=self.issuer.url,
            auth=auth,
            redirect_uri=REDIRECT,
            # What it does not take from the metadata.
            device_authorization_endpoint=f"{self.issuer.url}/device_authorization",
            id_token_signed_response_alg="ES256",
            testing=True,
        )

    def assert_bound(self, token, key):
        self.assertEqual(token.token_type, "DPoP")
        self.assertEqual(Jwt(token.access_token).claims["cnf"]["jkt"], key.dpop_jkt)

    def sign_in(self, client, scope="read", pushed=False, validate=True):
        key = DPoPKey.generate()
        request = client.authorization_request(scope=scope, dpop=True, dpop_key=key)
        asked = client.pushed_authorization_request(request) if pushed else request
        return client.authorization_code(self.visit(request, asked), validate=validate), key

    def visit(self, request, asked):
        """What a browser brings back that went there with a request, in whichever form."""
        answer = requests.get(asked.uri, allow_redirects=False, timeout=30)
        self.assertEqual(answer.status_code, 303, answer.text)
        return request.validate_callback(answer.headers["Location"])

    def signed(self, signer):
        """A request, and the same signed (RFC 9101); what it does not say by itself, it takes as parameters."""
        client, key = self.client(ClientSecretBasic("objects", SECRET)), DPoPKey.generate()
        who = {"iss": "objects", "aud": self.issuer.url}
        request = client.authorization_request(scope="read", dpop=True, dpop_key=key, **who)
        return client, key, request, request.sign(signer, lifetime=60)

    def push(self, client, key, signed):
        """As the client pushes any other: of a request it reads no more than this."""
        args = {"client_id": "objects", "request": str(signed.request)}
        return client.pushed_authorization_request(types.SimpleNamespace(args=args, dpop_key=key))

    def test_code(self):
        for auth in (PublicApp("app"), ClientSecretBasic("web", SECRET)):
            for pushed in (False, True):
                with self.subTest(auth=auth, pushed=pushed), case("code"):
                    client = self.client(auth)
                    first, key = self.sign_in(client, pushed=pushed)
                    self.assert_bound(first, key)
                    second = client.refresh_token(first)
                    self.assert_bound(second, key)
                    client.revoke_refresh_token(second)
                    with self.assertRaises(InvalidGrant):
                        client.refresh_token(second)

    def test_signed_request(self):
        with case("a signed request"):
            client, key, request, signed = self.signed(self.issuer.signer)
            self.assertEqual(set(signed.furl.args), {"client_id", "request"})
            back = self.visit(request, signed)
            # The key stands in the object, and no other one gets tokens for its code.
            redeeming = {"code_verifier": back.code_verifier, "redirect_uri": back.redirect_uri}
            with self.assertRaises(InvalidGrant):
                client.authorization_code(back.code, dpop_key=DPoPKey.generate(), **redeeming)
            self.assert_bound(client.authorization_code(back), key)

    def test_signed_request_pushed(self):
        with case("a signed request, pushed as it is"):
            client, _, _, signed = self.signed(self.issuer.signer)
            client.pushed_authorization_request(signed)
        with case("a signed request, pushed"):
            client, key, request, signed = self.signed(self.issuer.signer)
            back = self.visit(request, self.push(client, key, signed))
            self.assert_bound(client.authorization_code(back), key)

    def test_request_signed_by_somebody_else(self):
        with case("a request that somebody else signed"):
            client, key, _, forged = self.signed(Jwk.generate(alg="ES256"))
            with self.assertRaises(EndpointError) as refused:
                self.push(client, key, forged)
            self.assertEqual(refused.exception.error, "invalid_request_object")
            answer = requests.get(forged.uri, allow_redirects=False, timeout=30)
            # Nobody vouches for the address in it.
            self.assertEqual((answer.status_code, answer.headers.get("Location")), (400, None))

    def test_id_token(self):
        with case("an ID token beside a bound token"):
            token, _ = self.sign_in(self.client(PublicApp("app")), scope="openid read")
            self.assertEqual(token.id_token.sub, "alice")

    def test_claims_of_the_user(self):
        with case("userinfo"):
            client = self.client(PublicApp("app"))
            token, _ = self.sign_in(client, scope="openid read", validate=False)
            self.assertEqual(client.userinfo(token)["sub"], "alice")

    def test_client_credentials(self):
        for auth in (ClientSecretBasic("basic", SECRET), ClientSecretPost("post", SECRET)):
            with self.subTest(auth=auth), case("client credentials"):
                client, key = self.client(auth), DPoPKey.generate()
                token = client.client_credentials(scope="read", dpop=True, dpop_key=key)
                self.assert_bound(token, key)
                said = client.introspect_token(token)
                self.assertEqual((said["active"], said["cnf"]["jkt"]), (True, key.dpop_jkt))
                client.revoke_access_token(token)
                self.assertEqual(client.introspect_token(token), {"active": False})

    def test_client_credentials_by_an_assertion(self):
        with case("assertion"):
            self.issuer.takes_assertions()
            client, key = self.client(PrivateKeyJwt("signer", self.issuer.signer)), DPoPKey.generate()
            self.assert_bound(client.client_credentials(scope="read", dpop=True, dpop_key=key), key)

    def test_device(self):
        with case("device"):
            client, key = self.client(PublicApp("app")), DPoPKey.generate()
            codes = client.authorize_device(scope="read", dpop_jkt=key.dpop_jkt)
            answer = requests.get(codes.verification_uri_complete, timeout=30)
            self.assertEqual(answer.status_code, 200, answer.text)
            self.assert_bound(client.device_code(codes, dpop=True, dpop_key=key), key)

    def test_exchange(self):
        with case("token exchange"):
            client, key = self.client(ClientSecretPost("loose", SECRET)), DPoPKey.generate()
            bearer = client.client_credentials(scope="read")
            self.assertEqual(bearer.token_type, "Bearer")
            bound = client.token_exchange(subject_token=bearer, dpop=True, dpop_key=key)
            self.assert_bound(bound, key)


class NoncesOff(Grants, unittest.TestCase):
    policy = "off"


class NoncesOffered(Grants, unittest.TestCase):
    policy = "offer"


class NoncesRequired(Grants, unittest.TestCase):
    policy = "require"


def tearDownModule():
    unused = EXCEPTIONS.keys() - USED
    assert not unused, f"exceptions without a case: {unused}"


if __name__ == "__main__":
    unittest.main(testRunner=unittest.TextTestRunner(stream=sys.stdout, verbosity=2))
