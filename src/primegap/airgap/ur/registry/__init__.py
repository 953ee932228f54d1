"""What the types of a UR hold, as typed values (uniform-resources.md section 9).

Both generations are read; the first is written unless told otherwise. In everything that describes
where money goes, a field that is not understood is an error, and so is a private key where a public
one is wanted.
"""

from __future__ import annotations

from primegap.airgap.ur.generation import Generation
from primegap.airgap.ur.registry.addresses import AddressKind, AddressPayload, address_from_ur
from primegap.airgap.ur.registry.descriptors import (
    AccountDescriptors,
    OutputDescriptor,
    account_from_ur,
    account_to_ur,
    descriptor_from_text,
    descriptor_from_ur,
    descriptor_to_ur,
    eckey_from_ur,
    hdkey_from_ur,
    hdkey_to_ur,
)
from primegap.airgap.ur.registry.keys import (
    Branch,
    CoinInfo,
    EcKey,
    HdKey,
    Keypath,
    Step,
    key_from_expression,
)
from primegap.airgap.ur.registry.secrets import (
    SeedPayload,
    SskrShare,
    seed_from_ur,
    seed_to_ur,
    sskr_from_ur,
    sskr_to_ur,
    words_from_ur,
)

__all__ = [
    "AccountDescriptors",
    "AddressKind",
    "AddressPayload",
    "Branch",
    "CoinInfo",
    "EcKey",
    "Generation",
    "HdKey",
    "Keypath",
    "OutputDescriptor",
    "SeedPayload",
    "SskrShare",
    "Step",
    "account_from_ur",
    "account_to_ur",
    "address_from_ur",
    "descriptor_from_text",
    "descriptor_from_ur",
    "descriptor_to_ur",
    "eckey_from_ur",
    "hdkey_from_ur",
    "hdkey_to_ur",
    "key_from_expression",
    "seed_from_ur",
    "seed_to_ur",
    "sskr_from_ur",
    "sskr_to_ur",
    "words_from_ur",
]
