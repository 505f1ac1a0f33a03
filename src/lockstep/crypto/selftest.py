"""The self-test that a fast verifier must pass before a node trusts it [M3, 2.8].

Known signatures with frozen verdicts: good ones over messages of several lengths, bit flips, and
the boundary on which implementations of Ed25519 disagree (the edge cases of "Taming the many
EdDSAs" among them). Each stands in each lane once, between good ones.
"""

from typing import Final

from msgspec import Struct

from lockstep.crypto.keys import SignatureCheck, Verifier

LANES: Final = 8
"""Checks of one group: as many as the widest backend takes at once."""


class KnownCheck(Struct, frozen=True):
    """A signature check with its frozen verdict and what is special about it."""

    what: str
    check: SignatureCheck
    holds: bool


def _case(what: str, *, holds: bool, key: str, message: str, signature: str) -> KnownCheck:
    check = (bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature))
    return KnownCheck(what=what, check=check, holds=holds)


KNOWN_CHECKS: Final = (
    _case(
        "RFC 8032, empty message",
        holds=True,
        key="d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        message="",
        signature="e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    _case(
        "RFC 8032, one byte",
        holds=True,
        key="3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        message="72",
        signature="92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    _case(
        "RFC 8032, two bytes",
        holds=True,
        key="fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        message="af82",
        signature="6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    _case(
        "RFC 8032, a digest",
        holds=True,
        key="ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        message="ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        signature="dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
        "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
    _case(
        "the second with S + L",
        holds=False,
        key="3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        message="72",
        signature="92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "f52db7415978abc61b2c2eb6aeebfca0387b2eaeb4302aeeb00d291612bb0c10",
    ),
    _case(
        "small A and R, S zero",
        holds=False,
        key="c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        message="8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
        signature="c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
        "0000000000000000000000000000000000000000000000000000000000000000",
    ),
    _case(
        "small A, mixed R",
        holds=False,
        key="c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        message="9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        signature="f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43"
        "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
    ),
    _case(
        "mixed A, small R",
        holds=False,
        key="f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        message="aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
        signature="c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"
        "8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e",
    ),
    _case(
        "mixed A and R",
        holds=True,
        key="cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        message="9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
        signature="9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f"
        "87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009",
    ),
    _case(
        "holds only with the cofactor",
        holds=False,
        key="cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        message="e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        signature="160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed512"
        "5ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09",
    ),
    _case(
        "holds only with the cofactor, reduced late",
        holds=False,
        key="cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
        message="e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
        signature="21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7"
        "e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405",
    ),
    _case(
        "S beyond the order",
        holds=False,
        key="442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        message="85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        signature="e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e"
        "547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514",
    ),
    _case(
        "S far beyond the order",
        holds=False,
        key="442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
        message="85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
        signature="8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa1942"
        "7e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22",
    ),
    _case(
        "R not canonical, small",
        holds=False,
        key="f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        message="9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        signature="ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
        "03be9678ac102edcd92b0210bb34d7428d12ffc5df5f37e359941266a4e35f0f",
    ),
    _case(
        "R not canonical, small, hashed as given",
        holds=False,
        key="f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
        message="9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
        signature="ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
        "ca8c5b64cd208982aa38d4936621a4775aa233aa0505711d8fdcfdaa943d4908",
    ),
    _case(
        "A not canonical, small",
        holds=False,
        key="ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        message="e96b7021eb39c1a163b6da4e3093dcd3f21387da4cc4572be588fafae23c155b",
        signature="a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dc"
        "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
    ),
    _case(
        "A not canonical, small, hashed as given",
        holds=False,
        key="ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        message="39a591f5321bbe07fd5a23dc2f39d025d74526615746727ceefd6e82ae65c06f",
        signature="a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dc"
        "a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
    ),
    _case(
        "A not canonical, not small",
        holds=False,
        key="f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        message="",
        signature="e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    _case(
        "A is no point",
        holds=False,
        key="0200000000000000000000000000000000000000000000000000000000000000",
        message="72",
        signature="92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
)


def find_difference(verifier: Verifier) -> str | None:
    """Say where the verdicts of `verifier` differ from the frozen ones; None if nowhere."""
    good = [known for known in KNOWN_CHECKS if known.holds][:LANES]
    known_checks = (*KNOWN_CHECKS, *_flipped(good[0]))
    for known in known_checks:
        group = [good[lane % len(good)] for lane in range(LANES)]
        checks: list[SignatureCheck] = []
        expected: list[bool] = []
        for lane in range(LANES):
            row = [*group[:lane], known, *group[lane + 1 :]]
            checks += [each.check for each in row]
            expected += [each.holds for each in row]
        if verifier.verify_many(checks) != expected:
            return known.what
    return None


def _flipped(known: KnownCheck) -> list[KnownCheck]:
    """Return the good check with one bit flipped in its key, its message, R and S."""
    key, message, signature = known.check
    half = len(signature) // 2
    changed = {
        "a bit of A": (_flip(key), message, signature),
        "a longer message": (key, message + b"\x00", signature),
        "a bit of R": (key, message, _flip(signature[:half]) + signature[half:]),
        "a bit of S": (key, message, signature[:half] + _flip(signature[half:])),
    }
    return [KnownCheck(what=what, check=check, holds=False) for what, check in changed.items()]


def _flip(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]
