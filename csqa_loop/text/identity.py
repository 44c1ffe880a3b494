"""Who and what, without telling who: pseudonyms, message ids that carry their conversation, and feedback tokens.

All of it is keyed by the installation's secret, so that any gateway replica can check what another one issued, without a lookup.
"""

import base64
import binascii
import hmac
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from csqa_loop.errors import PermanentError

MAX_CONVERSATION_ID = 150
"""A message id adds 21 characters and must stay within the 200 of an event's `Id`."""

_PSEUDONYM = re.compile(r"u-[0-9a-f]{16}\Z")
_MESSAGE_ID = re.compile(r"(?P<conversation>.+)\.(?P<nonce>[0-9a-f]{12})(?P<proof>[0-9a-f]{8})\Z", re.DOTALL)
_NONCE_BYTES = 6


class TokenRefusedError(PermanentError):
    """A feedback token is damaged, expired, or belongs to another message."""


@dataclass(frozen=True, slots=True)
class FeedbackClaim:
    """What a valid feedback token says: this user saw this message in this arm."""

    message_id: str
    user: str
    arm: str
    expires: int
    """Seconds since the epoch."""


def _proof(secret: bytes, purpose: str, text: str) -> str:
    """HMAC-SHA-256 in hex. The purpose keeps one kind of proof from passing for another."""
    return hmac.digest(secret, f"{purpose}\n{text}".encode(), sha256).hex()


def is_pseudonym(user: str) -> bool:
    """Whether `user` stands for somebody already."""
    return _PSEUDONYM.match(user) is not None


def pseudonym(secret: bytes, user: str) -> str:
    """`u-` and 16 hex of a keyed hash. A pseudonym stays what it is, so that doing it twice changes nothing."""
    return user if is_pseudonym(user) else f"u-{_proof(secret, 'user', user)[:16]}"


def conversation_alias(secret: bytes, conversation_id: str) -> str:
    """A stand-in for a conversation id that would give a person away (an e-mail address, say)."""
    return f"c-{_proof(secret, 'conversation', conversation_id)[:16]}"


def new_message_id(secret: bytes, conversation_id: str, *, nonce: bytes | None = None) -> str:
    """`{conversation_id}.{12 hex random}{8 hex HMAC}`. `nonce` (6 bytes) is drawn unless given."""
    drawn = (nonce if nonce is not None else secrets.token_bytes(_NONCE_BYTES)).hex()
    return f"{conversation_id}.{drawn}{_proof(secret, 'message', f'{conversation_id}.{drawn}')[:8]}"


def conversation_of(secret: bytes, message_id: str) -> str | None:
    """The conversation of a message id issued under this secret; None for any other text."""
    parts = _MESSAGE_ID.match(message_id)
    if parts is None:
        return None
    expected = _proof(secret, "message", f"{parts['conversation']}.{parts['nonce']}")[:8]
    return parts["conversation"] if hmac.compare_digest(expected, parts["proof"]) else None


def sign_feedback(secret: bytes, message_id: str, user: str, arm: str, expires: int) -> str:
    """base64url(JSON) and its HMAC, joined by a dot. `expires` is in seconds since the epoch."""
    payload = json.dumps([message_id, user, arm, expires], separators=(",", ":"), ensure_ascii=False).encode()
    body = base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
    return f"{body}.{_proof(secret, 'feedback', body)[:32]}"


def vouch(secret: bytes, message_id: str, contacts: Sequence[str]) -> str:
    """HMAC with which a process that knows the policies says: a current one states these contacts. Empty for none."""
    return _proof(secret, "stated", json.dumps([message_id, *contacts], ensure_ascii=False))[:32] if contacts else ""


def is_vouched_for(secret: bytes, message_id: str, contacts: Sequence[str], proof: str) -> bool:
    """Whether `vouch` made this proof, under this secret, for this message and these contacts."""
    return bool(contacts) and proof.isascii() and hmac.compare_digest(vouch(secret, message_id, contacts), proof)


def verify_feedback(secret: bytes, token: str, message_id: str, now: float) -> FeedbackClaim:
    """The claim of a token that came back with `message_id` at `now` (seconds since the epoch).

    Raises:
        TokenRefusedError: not issued here, expired, or for another message.
    """
    body, _, proof = token.rpartition(".")
    if not body.isascii() or not proof.isascii() or not hmac.compare_digest(_proof(secret, "feedback", body)[:32], proof):
        msg = "the feedback token was not issued here; send back the `feedback_token` that came with the answer"
        raise TokenRefusedError(msg)
    try:
        claim = FeedbackClaim(*json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))
    except (ValueError, TypeError, binascii.Error) as error:  # signed by us, so only an older format gets here
        msg = f"the feedback token cannot be read ({error})"
        raise TokenRefusedError(msg) from error
    if claim.message_id != message_id:
        msg = f"the feedback token belongs to another message than {message_id!r}"
        raise TokenRefusedError(msg)
    if now >= claim.expires:
        msg = "the feedback token has expired"
        raise TokenRefusedError(msg)
    return claim
