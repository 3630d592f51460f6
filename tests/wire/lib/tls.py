"""Certificates made at test time: an authority, leaf certificates of every
kind that a test needs, and contexts for Python's ssl."""
import datetime
import ipaddress
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def _now():
    return datetime.datetime.now(datetime.timezone.utc)


def _key(kind):
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def _name(common):
    return x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Daemun tests"),
        x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternative(text):
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


class Leaf:
    """A certificate with its key, in two PEM files."""

    def __init__(self, folder, file, cert, key, issuers):
        self.cert = cert
        self.chain = folder / f"{file}.pem"
        self.key = folder / f"{file}.key"
        pem = serialization.Encoding.PEM
        self.chain.write_bytes(b"".join(c.public_bytes(pem)
                                        for c in [cert, *issuers]))
        self.key.write_bytes(key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))
        self.key.chmod(0o600)

    @property
    def conf(self):
        """As a member of `certificates`."""
        return f'{{ chain = "{self.chain}"; key = "{self.key}"; }}'

    @property
    def serial(self):
        return self.cert.serial_number

    @property
    def der(self):
        return self.cert.public_bytes(serialization.Encoding.DER)

    def server_context(self, alpn=None, client_ca=None):
        """For a TLS server in Python."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        if alpn:
            context.set_alpn_protocols(alpn)
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca.path)
        return context


class Authority:
    """Issues certificates. `path`: its own certificate as PEM."""

    def __init__(self, folder, name="ca"):
        self.folder = folder
        self.name = name
        self.n_leaves = 0
        self.key = _key("ecdsa")
        self.cert = self._sign(_name(f"Test authority {name}"), self.key,
                               None, is_ca=True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self.cert.public_bytes(
            serialization.Encoding.PEM))

    def _sign(self, subject, key, names, is_ca=False, is_client=False,
              begin=None, end=None):
        issuer = subject if is_ca else self.cert.subject
        build = (x509.CertificateBuilder().subject_name(subject)
                 .issuer_name(issuer).public_key(key.public_key())
                 .serial_number(x509.random_serial_number())
                 .not_valid_before(begin or _now() - DAY)
                 .not_valid_after(end or _now() + 30 * DAY)
                 .add_extension(x509.BasicConstraints(is_ca, None), True)
                 .add_extension(x509.SubjectKeyIdentifier.from_public_key(
                     key.public_key()), False)
                 .add_extension(
                     x509.AuthorityKeyIdentifier.from_issuer_public_key(
                         self.key.public_key()), False))
        if names:
            build = build.add_extension(x509.SubjectAlternativeName(
                [_alternative(n) for n in names]), False)
        if not is_ca:
            use = (ExtendedKeyUsageOID.CLIENT_AUTH if is_client
                   else ExtendedKeyUsageOID.SERVER_AUTH)
            build = build.add_extension(x509.ExtendedKeyUsage([use]), False)
        return build.sign(self.key, hashes.SHA256())

    def leaf(self, *names, kind="ecdsa", file=None, expired=False,
             common=None, n_days=30):
        """A server certificate for these names and addresses (localhost and
        the loopback addresses if none is given)."""
        names = names or ("localhost", "127.0.0.1", "::1")
        return self._leaf(common or names[0], names, kind, file, expired,
                          False, n_days)

    def client(self, common="alice", kind="ecdsa", expired=False):
        """A client certificate."""
        return self._leaf(common, None, kind, None, expired, True)

    def _leaf(self, common, names, kind, file, expired, is_client, n_days=30):
        key = _key(kind)
        end = _now() - DAY / 24 if expired else _now() + n_days * DAY
        cert = self._sign(_name(common), key, names, is_client=is_client,
                          end=end)
        self.n_leaves += 1
        return Leaf(self.folder, file or f"{self.name}-{self.n_leaves}", cert,
                    key, [self.cert])

    def client_context(self, alpn=None, certificate=None, minimum=None,
                       maximum=None, verify=True):
        """For a TLS client in Python that trusts this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.path)
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if alpn:
            context.set_alpn_protocols(alpn)
        if certificate:
            context.load_cert_chain(certificate.chain, certificate.key)
        if minimum:
            context.minimum_version = minimum
        if maximum:
            context.maximum_version = maximum
        return context
