"""The certificate is chosen by the name the client asks for: exact before a
wildcard of one label, else the first one, or no handshake where sni_strict;
of ECDSA and RSA for one name, the one that the client can verify."""
import ssl

import pytest

from lib.client import connect, s_client

CONF = """
listeners = ( { name = "https"; address = "127.0.0.1:@https@";
  tls = { certificates = ( @certificates@ ); sni_strict = @strict@; }; } );
routes = ( { path_prefix = "/"; answer = { status = 200; }; } );
"""


@pytest.fixture(scope="module")
def leaves(ca):
    return {"default": ca.leaf("default.test"),
            "exact": ca.leaf("a.example.test"),
            "wildcard": ca.leaf("*.example.test"),
            "two": ca.leaf("x.test", "y.test")}


def start(gateway, leaves, strict="false"):
    return gateway(CONF, strict=strict, certificates=", ".join(
        leaf.conf for leaf in leaves.values()))


def shown(g, ca, name):
    with connect(g.port("https"), tls=ca.client_context(verify=False),
                 name=name) as c:
        return c.sock.getpeercert(binary_form=True)


NAMES = [
    ("a.example.test", "exact"), ("A.Example.TEST", "exact"),
    ("b.example.test", "wildcard"), ("c.b.example.test", "default"),
    ("example.test", "default"), ("y.test", "two"), ("x.test", "two"),
    ("other.test", "default"), (None, "default"),
]


def test_chosen_by_name(gateway, leaves, ca):
    g = start(gateway, leaves)
    for name, chosen in NAMES:
        assert shown(g, ca, name) == leaves[chosen].der, name


def test_strict(gateway, leaves, ca):
    g = start(gateway, leaves, "true")
    for name, chosen in NAMES:
        if chosen != "default":
            assert shown(g, ca, name) == leaves[chosen].der, name
            continue
        if name is None:
            continue
        with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
            shown(g, ca, name)
    assert shown(g, ca, "default.test") == leaves["default"].der
    g.wait_metric("dm_tls_handshakes_failed_total", 3)


@pytest.mark.parametrize("version", ["-tls1_3", "-tls1_2"])
@pytest.mark.parametrize("sigalgs, kind", [
    ("ECDSA+SHA256", "ecdsa"), ("rsa_pss_rsae_sha256:RSA+SHA256", "rsa"),
    ("ECDSA+SHA256:rsa_pss_rsae_sha256:RSA+SHA256", "ecdsa")])
@pytest.mark.parametrize("order", [("rsa", "ecdsa"), ("ecdsa", "rsa")])
def test_ecdsa_and_rsa_for_one_name(gateway, ca, version, sigalgs, kind,
                                    order):
    both = {k: ca.leaf("both.test", kind=k) for k in order}
    g = start(gateway, both)
    status, text = s_client(g.port("https"), version, "-sigalgs", sigalgs,
                            "-servername", "both.test", "-CAfile",
                            str(ca.path), "-verify_return_error")
    assert status == 0, text
    kind_shown = "rsa" if "Peer signature type: RSA" in text else "ecdsa"
    assert kind_shown == kind, text
