"""`requests_oauth2client` as client of every grant it knows and keybound's issuer has, with nonces off, offered and demanded.

It tries again by itself where a nonce is demanded. What it is known to do otherwise is a row of exceptions.json."""

import contextlib
import sys
import unittest

import requests
from jwskate import Jwt
from requests_oauth2client import (
    ClientSecretBasic,
    ClientSecretPost,
    DPoPKey,
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
        answer = requests.get(asked.uri, allow_redirects=False, timeout=30)
        self.assertEqual(answer.status_code, 303, answer.text)
        back = request.validate_callback(answer.headers["Location"])
        return client.authorization_code(back, validate=validate), key

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
