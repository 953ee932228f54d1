"""Errors of the bitcoin room: one root, split by who is at fault.

`LocalError` means that the calling program broke a rule, which is a bug. `RemoteError` means that
something from outside (a companion, a scanned code, a file, a typed word) did not hold; parsers of
untrusted data and the review raise nothing else. Every refusal of a transaction is a
`PsbtRefusedError` and names the rule of the air-gap specification (section 9.1 or 19) it follows.

Messages hold no bytes of the peer and no secret.
"""

from __future__ import annotations

from typing import ClassVar


class BitcoinError(Exception):
    """Root of everything this package raises on purpose."""

    code: ClassVar[str] = "bitcoin"
    "Stable public code: JSON output, exit status, documentation."
    hint: ClassVar[str] = "A bitcoin operation failed."
    "A sentence for a person."


class LocalError(BitcoinError):
    """Our own caller broke the rules of the API."""

    code = "bitcoin-misuse"
    hint = "The program used the wallet library in a way that is not allowed."


class ReviewMismatchError(LocalError):
    """What is to be signed is not what was reviewed and approved; nothing was signed."""

    code = "review-mismatch"
    hint = "The transaction is not the one you approved. Nothing was signed."


class SigningFaultError(BitcoinError):
    """The signature that was just made does not verify; it was thrown away."""

    code = "signing-fault"
    hint = "The device made a signature that does not verify. Nothing was signed; try again."


class RemoteError(BitcoinError):
    """Something from outside did not hold."""

    code = "bitcoin-remote"
    hint = "The data that arrived could not be accepted."


# --- texts --------------------------------------------------------------------------------------


class AmountFormatError(RemoteError):
    """A text is not an amount of bitcoin."""

    code = "amount-format"
    hint = "This is not an amount: write for example 0.01, with at most eight decimals."


class AddressFormatError(RemoteError):
    """A text is not a bitcoin address."""

    code = "address-format"
    hint = "This is not a valid bitcoin address."


class AddressNetworkError(AddressFormatError):
    """An address of another network."""

    code = "address-network"
    hint = "This address belongs to another bitcoin network."


class UriFormatError(RemoteError):
    """A payment request (BIP-21) is malformed."""

    code = "uri-format"
    hint = "This payment request is damaged."


class UriRequirementError(UriFormatError):
    """A payment request demands something that is not supported here."""

    code = "uri-requirement"
    hint = "This payment request needs something that this program does not support."


class AccountFormatError(RemoteError):
    """An account description is malformed, or of a kind that is not supported."""

    code = "account-format"
    hint = "This account description is damaged or not supported."


class MultisigConfigError(AccountFormatError):
    """A file does not describe a wallet of several signers that can be signed for."""

    code = "multisig-config"
    hint = "This is not the file of a multisig wallet, or its keys do not fit."


class AccountNetworkError(AccountFormatError):
    """An account description of another network."""

    code = "account-network"
    hint = "This account belongs to another bitcoin network."


class RegistrationError(AccountFormatError):
    """The stored record of a wallet was changed, or was written with another seed."""

    code = "account-registration"
    hint = "The stored wallet was changed or belongs to another seed. Register it again."


class PrivateKeyRefusedError(AccountFormatError):
    """A private key where only public ones belong."""

    code = "account-private-key"
    hint = "This account description contains a private key and was refused. Treat it as exposed."


class MnemonicError(RemoteError):
    """Seed words that are not a seed (BIP-39)."""

    code = "mnemonic"
    hint = "These words are not a seed."


class MnemonicLengthError(MnemonicError):
    """The number of words is wrong."""

    code = "mnemonic-length"
    hint = "A seed has 12, 18 or 24 words."


class MnemonicWordError(MnemonicError):
    """A word is not in the list."""

    code = "mnemonic-word"
    hint = "One of the words is not a seed word."

    def __init__(self, position: int) -> None:
        super().__init__(f"word {position} is not in the list")
        self.position = position
        "Which word, counted from 1."


class MnemonicChecksumError(MnemonicError):
    """All words are known but they do not belong together."""

    code = "mnemonic-checksum"
    hint = "These words do not belong together: one of them is wrong, or their order is."


class TransactionFormatError(RemoteError):
    """Bytes that are not a transaction in network serialisation (BIP-144)."""

    code = "transaction-format"
    hint = "This transaction is damaged."


# --- refused transactions (air-gap specification, 9.1 and 19) -----------------------------------


class PsbtRefusedError(RemoteError):
    """A partially signed transaction (BIP-174) is not accepted."""

    code = "psbt-refused"
    hint = "This transaction was refused."
    rule: ClassVar[str] = ""
    "Rule of the air-gap specification, section 9.1; `19.n` for those of section 19."


class PsbtMagicError(PsbtRefusedError):
    """It does not begin like a PSBT."""

    code = "psbt-magic"
    hint = "This is not a transaction to sign."
    rule = "R1"


class PsbtFormatError(PsbtRefusedError):
    """The key-value maps are malformed."""

    code = "psbt-format"
    hint = "This transaction is damaged."
    rule = "R4"


class PsbtTrailingBytesError(PsbtFormatError):
    """Bytes follow the last map. They would be signed past, so they are refused."""

    code = "psbt-trailing-bytes"


class PsbtDuplicateKeyError(PsbtFormatError):
    """The same key twice in one map: two readers could see two transactions."""

    code = "psbt-duplicate-key"


class PsbtVersionError(PsbtRefusedError):
    """A version of the PSBT format other than 0."""

    code = "psbt-version"
    hint = "This transaction uses a newer format that is not supported yet."
    rule = "19.6"


class UnsignedTransactionError(PsbtRefusedError):
    """The unsigned transaction is missing, too short, malformed or not unsigned."""

    code = "psbt-unsigned-transaction"
    hint = "This transaction is damaged."
    rule = "R2"


class TransactionVersionError(PsbtRefusedError):
    """A transaction version other than 1 or 2."""

    code = "psbt-transaction-version"
    hint = "This transaction has an unknown version."
    rule = "R3"


class MapCountError(PsbtRefusedError):
    """No inputs, no outputs, or not one map for each of them."""

    code = "psbt-map-count"
    hint = "This transaction is incomplete."
    rule = "R4"


class KeyFieldError(PsbtRefusedError):
    """A field that should hold a public key does not."""

    code = "psbt-key-field"
    hint = "This transaction is damaged."
    rule = "R5"


class DerivationFieldError(PsbtRefusedError):
    """A field that should hold a derivation path does not, or the path is too deep."""

    code = "psbt-derivation-field"
    hint = "This transaction is damaged."
    rule = "R6"


class SighashError(PsbtRefusedError):
    """A signature that would not cover the whole transaction is asked for."""

    code = "psbt-sighash"
    hint = "This transaction asks for a signature that would let others change it."
    rule = "R7"


class PreviousTransactionError(PsbtRefusedError):
    """The previous transaction given for an input is not the one it spends from."""

    code = "psbt-previous-transaction"
    hint = "This transaction lies about the coins it spends."
    rule = "R8"


class MissingPreviousTransactionError(PsbtRefusedError):
    """Without the previous transaction the amount of an input is only a claim."""

    code = "psbt-previous-transaction-missing"
    hint = "This transaction does not prove the amounts it spends."
    rule = "19.4"


class AmountError(PsbtRefusedError):
    """An amount that cannot be spent: nothing, or sums above all the bitcoin there is."""

    code = "psbt-amount"
    hint = "This transaction contains an impossible amount."
    rule = "R9"


class AlreadySignedError(PsbtRefusedError):
    """Every input is signed."""

    code = "psbt-already-signed"
    hint = "This transaction is already signed."
    rule = "R10"


class NothingToSignError(PsbtRefusedError):
    """Our inputs are all signed; others still wait for theirs."""

    code = "psbt-nothing-to-sign"
    hint = "This device has already signed its part."
    rule = "R10"


class NotOursError(PsbtRefusedError):
    """No input belongs to this account."""

    code = "psbt-not-ours"
    hint = "This transaction belongs to another wallet."
    rule = "R11"

    def __init__(self, fingerprints: tuple[str, ...]) -> None:
        super().__init__("no input belongs to this account")
        self.fingerprints = fingerprints
        "Master keys the transaction asks for, 8 hex digits each, for the screen."


class ScriptFieldError(PsbtRefusedError):
    """A redeem script or witness script is missing, or given where none belongs."""

    code = "psbt-script-field"
    hint = "This transaction describes its coins wrongly."
    rule = "R12"


class GlobalKeyError(PsbtRefusedError):
    """An extended key in the header is not ours though it says so, or there are too many."""

    code = "psbt-global-key"
    hint = "This transaction names a wallet that does not match."
    rule = "R13"


class InputScriptError(PsbtRefusedError):
    """An input spends from a kind of script that is not known."""

    code = "psbt-input-script"
    hint = "This transaction spends a kind of coin that is not supported."
    rule = "R14"


class OutputScriptError(PsbtRefusedError):
    """An output pays to a script that has no address and carries no data."""

    code = "psbt-output-script"
    hint = "This transaction pays to something that cannot be shown as an address."
    rule = "9.4"


class FalseChangeError(PsbtRefusedError):
    """An output claims to come back to this account and does not."""

    code = "psbt-false-change"
    hint = "This transaction pretends that money comes back to you. Do not trust its sender."
    rule = "R16"


class FalseKeyError(PsbtRefusedError):
    """An input claims a key of this account that derives to another one."""

    code = "psbt-false-key"
    hint = "This transaction claims keys that are not this device's. Do not trust its sender."
    rule = "R17"


class AmountMismatchError(PsbtRefusedError):
    """Two fields of an input disagree about the coin it spends."""

    code = "psbt-amount-mismatch"
    hint = "This transaction contradicts itself about an amount. Do not trust its sender."
    rule = "R18"


class TooComplexError(PsbtRefusedError):
    """More bytes, inputs, outputs or fields than can be reviewed."""

    code = "psbt-too-complex"
    hint = "This transaction is too complex."
    rule = "R19"


class NegativeFeeError(PsbtRefusedError):
    """The outputs are worth more than the inputs."""

    code = "psbt-negative-fee"
    hint = "This transaction pays out more than it spends."
    rule = "19.1"


class DuplicateInputError(PsbtRefusedError):
    """The same coin is spent twice."""

    code = "psbt-duplicate-input"
    hint = "This transaction spends the same coin twice."
    rule = "R8"


class OtherNetworkError(PsbtRefusedError):
    """Keys of another network are claimed."""

    code = "psbt-other-network"
    hint = "This transaction belongs to another bitcoin network."
    rule = "9.4"


class OtherAccountError(PsbtRefusedError):
    """An input claims a key of this device outside the account that is reviewed.

    Its amount would leave the device without being counted, so it is not taken for a stranger's.
    """

    code = "psbt-other-account"
    hint = "This transaction also spends from another account of this device."
    rule = "R17"


class UndeclaredInputError(PsbtRefusedError):
    """An input spends a coin of this account without saying so."""

    code = "psbt-undeclared-input"
    hint = "This transaction hides that it spends your coins. Do not trust its sender."
    rule = "9.4"


class BadSignatureError(PsbtRefusedError):
    """A signature in the transaction does not verify."""

    code = "psbt-bad-signature"
    hint = "This transaction carries a wrong signature."
    rule = "R10"


class OtherTransactionError(PsbtRefusedError):
    """A signed transaction came back that is not the one that was sent out."""

    code = "psbt-other-transaction"
    hint = "The signed transaction is not the one that was prepared."
    rule = "companion 11"


class IncompleteError(PsbtRefusedError):
    """Signatures are missing, so there is no transaction to broadcast yet."""

    code = "psbt-incomplete"
    hint = "Signatures are still missing."
    rule = "companion 11"
