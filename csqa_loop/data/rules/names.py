"""What files call their columns."""

import re
from collections.abc import Mapping
from functools import lru_cache

# The first name that a file has wins, so the plainest come first.
NAMES: Mapping[str, tuple[str, ...]] = {
    "question": ("question", "prompt", "instruction", "query", "user", "ask", "问题", "提问", "用户问题"),
    "chosen": ("chosen", "answer", "response", "output", "completion", "corrected_answer", "答案", "回答", "回复", "正确答案", "generation", "reply"),
    "rejected": ("rejected", "rejected_answer", "bad_answer", "错误答案", "错误回答"),
    "liked": ("liked", "label", "thumb", "kto_tag", "评价", "标签"),
    "category": ("category", "topic", "intent", "类别", "分类"),
    "input": ("input", "context", "补充"),
    "system": ("system", "system_prompt", "系统"),
    "history": ("history",),
    "split": ("split",),
    "generator": ("generator",),
    "made_from": ("made_from",),
    "weight": ("weight", "sample_weight", "train", "loss"),
    "candidates": ("completions", "generations", "responses", "candidates", "answers", "outputs", "replies"),
    "scores": ("ratings", "scores", "rewards", "rating", "score"),
}  # fmt: skip
CONVERSATIONS = ("conversations", "conversation", "messages")
DIALOGUES = ("context", "dialogue", "dialog", "chat", "turns")
"""Lists of turns too, where nothing is called a question."""
_ANSWER = frozenset(
    ["response", "responses", "answer", "answers", "output", "message", "messages", "completion", "reply", "text", "content", "generation"]
)
_SPEAKERS = frozenset(["model", "assistant", "chatbot", "bot", "human", "ref"])
_BETTER = frozenset(["chosen", "preferred", "good", "positive", "winner", "winning", "better", "best", "correct", "accepted", "ideal"])
_WORSE = frozenset(
    [
        "rejected",
        "reject",
        "nonpreferred",
        "dispreferred",
        "unpreferred",
        "bad",
        "negative",
        "loser",
        "losing",
        "worse",
        "worst",
        "wrong",
        "incorrect",
        "lose",
    ]
)
_SCORE = frozenset(["score", "rating", "reward", "overall", "average", "avg", "mean"])
_SHORT = {
    "y_w": "chosen",
    "y_l": "rejected",
    "response_j": "chosen",
    "response_k": "rejected",
    "response_w": "chosen",
    "response_l": "rejected",
}
_STARS = frozenset(
    [
        "rating",
        "stars",
        "star",
        "star_rating",
        "rating_stars",
        "user_rating",
        "rating_score",
        "overall_rating",
        "csat",
        "评分",
        "星级",
        "满意度",
    ]
)
_SCORES = frozenset(["score", "overall_score", "quality", "quality_score", "grade", "reward", "helpfulness", "correctness", "分数", "得分"])
_GOOD_MARKS = frozenset(
    [
        "thumbs",
        "thumbs_up",
        "thumb_up",
        "thumbsup",
        "upvoted",
        "upvotes",
        "like",
        "likes",
        "helpful",
        "is_helpful",
        "good",
        "is_good",
        "is_correct",
        "correct",
        "accepted",
        "is_accepted",
        "approved",
        "is_approved",
        "positive",
        "is_positive",
        "satisfied",
        "is_liked",
        "vote",
        "feedback",
        "user_feedback",
        "is_chosen",
    ]
)
_BAD_MARKS = frozenset(
    [
        "thumbs_down",
        "thumb_down",
        "thumbsdown",
        "downvoted",
        "downvotes",
        "dislike",
        "dislikes",
        "disliked",
        "unhelpful",
        "bad",
        "is_bad",
        "incorrect",
        "is_incorrect",
        "wrong",
        "is_wrong",
        "negative",
        "is_negative",
        "rejected",
        "is_rejected",
        "flagged",
        "is_flagged",
    ]
)
OPENED = ("fields", "responses", "suggestions", "input", "data", "record", "row", "example", "sample")
"""Objects whose members count as columns of the row."""
_OPENED = re.compile(rf"(?:{'|'.join(OPENED)})\.")
_REMEMBERED = 4096
"""Names: each row of a file has the same ones."""
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@lru_cache(_REMEMBERED)
def plain(name: str) -> str:
    """A name as it is compared."""
    return re.sub(r"[\s-]+", "_", inner(name).strip().casefold())


@lru_cache(_REMEMBERED)
def parted(name: str) -> str:
    """A name with a line between its words: `responseA` is `response_a`."""
    return plain(_CAMEL.sub("_", inner(name)))


def inner(name: str) -> str:
    """Without the objects that it stands in."""
    while match := _OPENED.match(name):
        name = name[match.end() :]
    return name


@lru_cache(_REMEMBERED)
def side_of_pair(name: str) -> str:
    """`chosen` or `rejected` where a name says that it holds the better or the worse answer (`response_rejected`, `nonPreferredOutput`)."""
    words = _words(name)
    known = _SHORT.get("_".join(words))
    if known:
        return known
    said, rest = words & _WORSE or words & _BETTER, words - _WORSE - _BETTER
    if not said or not rest <= _ANSWER:
        return ""
    return "rejected" if words & _WORSE else "chosen"


def is_answer(name: str) -> bool:
    """Whether a name says that it holds an answer, or a conversation that ends with one, and nothing else of it."""
    words = _words(name)
    return bool(words) and words <= _ANSWER | _SPEAKERS | {"conversation"} and not words <= _SPEAKERS


def is_comparing(name: str) -> bool:
    """Whether a name says that it compares an answer with another."""
    return parted(name).startswith(("winner", "prefer", "better", "safer", "overall_preference"))


@lru_cache(_REMEMBERED)
def is_correction(name: str) -> bool:
    """Whether a name says that it holds what an answer was corrected to."""
    words = _words(name)
    return bool(words & {"corrected", "correction"}) and words <= _ANSWER | {"corrected", "correction"}


def is_model(name: str) -> bool:
    """Whether a name says that it holds who gave an answer."""
    return bool(_words(name)) and _words(name) <= {"model", "name", "generator"}


def is_measure(name: str, word: str) -> bool:
    """Whether a name says that it holds a `score`, in any word for it, or a `rank`."""
    words = _words(name)
    known = _SCORE if word == "score" else {"rank"}
    return bool(words & known) and words <= known | _ANSWER


def score_of_side(name: str) -> str:
    """`chosen` or `rejected` where a name says that it holds that answer's score (`score_chosen`) or rank."""
    words = _words(name)
    side = "chosen" if words & _BETTER else "rejected" if words & _WORSE else ""
    measure = {"rank"} if "rank" in words else _SCORE
    return side if words & measure and words <= measure | _BETTER | _WORSE else ""


def is_needing_text(name: str) -> bool:
    """Whether a name of one word (`good`) may as well hold a mark: then only an answer in words is one."""
    return len(_words(name)) == 1 and not _words(name) & {"chosen", "rejected", "preferred", "nonpreferred", "dispreferred"}


def mark_kind(name: str) -> str:
    """`stars`, `score`, `good` or `bad` where a name says that it holds a mark; a `bad` one is bad where it is set."""
    own = "_".join(_CAMEL.sub("_", inner(name)).casefold().replace("-", "_").split())
    kinds = {"stars": _STARS, "score": _SCORES, "good": _GOOD_MARKS, "bad": _BAD_MARKS}
    return next((kind for kind, names in kinds.items() if own in names), "")


def is_count(name: str) -> bool:
    """Whether a name says that it counts those who liked an answer: none is no dislike."""
    return plain(name) in {"likes", "upvotes"}


@lru_cache(_REMEMBERED)
def _words(name: str) -> frozenset[str]:
    spelled = _CAMEL.sub("_", inner(name)).casefold()
    spelled = re.sub(
        r"\b(?:non|dis|un)[\s_-]*preferred", "nonpreferred", re.sub(r"[\s-]+", "_", spelled).replace("_preferred", " preferred")
    )
    return frozenset(re.split(r"[\W_]+", spelled)) - {""}
