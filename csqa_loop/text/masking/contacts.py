"""E-mail addresses, names in networks, and addresses of machines."""

import ipaddress
import re
from collections.abc import Iterator

from csqa_loop.text.masking.kept import counted
from csqa_loop.text.masking.labels import label_of
from csqa_loop.text.masking.roles import is_role
from csqa_loop.text.masking.view import Clues, Finding

_HAN = "\u2e80-\u2fdf\u3005-\u9fff\uac00-\ud7af"
_LETTER = rf"[^\W\d_{_HAN}]"
_WORD = rf"[^\W{_HAN}]"  # with digits and underscores
_CJK_ENDINGS = "中国|中國|公司|网络|網絡|香港|台湾|台灣|新加坡|澳门|澳門|商标|在线|中文网|我爱你|集团|公益|政务|网店|网站|网址|购物|手机|移动|信息|佛山|广东|机构|组织机构|商城|商店|企业|娱乐|游戏|健康|한국|닷컴|みんな"
_LOCAL_BACKWARDS = re.compile(rf"\"[^\"@\n]{{1,60}}\"|(?:{_WORD}|[.%+'&=~!#$*?^{{}}|-])+|[{_HAN}]{{1,20}}")
_DOMAIN = re.compile(
    rf"(?:[\w-]{{1,63}}[.。])+(?:(?P<ending>(?:xn|XN)--[A-Za-z0-9-]+|[A-Za-z]{{2,24}})(?![A-Za-z0-9])|(?:{_CJK_ENDINGS})|(?![A-Za-z]){_LETTER}{{2,24}}(?!{_WORD}))"
)
_LONGEST_LOCAL = 100
_SPACED_EMAIL = re.compile(
    r"(?<![\w.%+@-])([A-Za-z0-9._%+-]{2,64}) {1,2}@ {0,2}((?:gmail|qq|163|126|139|sina|foxmail|outlook|hotmail|yahoo|icloud|aol|gmx|web|t-online|orange|free|proton|protonmail|live|msn)"
    r" ?\. ?(?:com\.cn|co\.uk|com|cn|de|fr|net|me))(?![A-Za-z0-9])|"
    r"(?<![\w.%+@-])([A-Za-z0-9._%+-]{2,64})@ {1,2}((?:gmail|qq|163|126|outlook|hotmail|yahoo|icloud|gmx)\.(?:com|de|fr|net))(?![A-Za-z0-9])"
)
_FILES_LIST = """
    png jpg jpeg gif webp svg bmp ico tif tiff doc docx xls xlsx ppt pptx csv txt json xml yaml yml html htm css js jsx ts tsx mjs
    mp3 mp4 wav avi mkv tar gz rar exe dll apk ipa dmg iso log conf ini cfg toml lock whl jar deb rpm woff woff2 ttf md5 sha psd
    scss less vue java cpp hpp
"""
_FILES = frozenset(_FILES_LIST.split())
_NO_DOMAIN = re.compile(r"\d(?:\.\d)?x\.|\d+\.\d+\.")
"""The densities of pictures (`@2x.png`) and versions of packages (`@1.2.3-beta.two`)."""
_LEAD = re.compile(
    r".*(?:邮箱|信箱|邮件|郵箱|郵件|电邮|電郵|地址|联系|聯絡|聯繫|写信|寫信|发送|发|發送|發|寄|给|給|到|至|是|为|為|在|请|請|我|问|詢|询|找|或|和|与|與|及|：)",
    re.DOTALL,
)


def find_emails(view: str, _: Clues) -> Iterator[Finding]:
    """Addresses whose domain ends as domains do. A desk's address is known and stays."""
    at = view.find("@")
    while at >= 0:
        domain = _DOMAIN.match(view, at + 1)
        local = domain and _LOCAL_BACKWARDS.match(view[max(0, at - _LONGEST_LOCAL) : at][::-1])
        if domain and local and (domain["ending"] or "").lower() not in _FILES and _NO_DOMAIN.match(domain[0]) is None:
            said = local[0][::-1]
            if said[0] >= "\u2e80" and (lead := _LEAD.match(said)) and lead.end() < len(said):
                said = said[lead.end() :]
            said = said.lstrip(".'*!?#|~{")
            if said:
                yield Finding(at - len(said), domain.end(), None if is_role(said.strip('"')) else "[email]")
        at = view.find("@", at + 1)
    if " @" in view or "@ " in view:
        for match in _SPACED_EMAIL.finditer(view):
            yield Finding(*match.span(), None if is_role(match[1] or match[3]) else "[email]")


_HANDLE = re.compile(
    r"(?i:(?P<free>(?<![a-z])v信号?|微信号|微信號|微信帐号|微信账号|微信id|微信|薇信号|薇信|加v|(?<![a-z])(?:wechat|weixin)(?: ?id| account| number)?|(?<![a-z])vx号?"
    r"))"
    r"(?P<said>(?i:[\s:=\"'(@]|\bid\b|\bis\b|\bist\b|\best\b|号|號|是|为|為|我的|加我|叫){0,8})(?P<name>[A-Za-z][A-Za-z0-9_-]{4,30})(?![A-Za-z0-9_@]|\.[A-Za-z])"
)
_NO_HANDLES_LIST = """
    payment payments support official customer service available required account wallet transfer group groups number contact
    message messages mini program channel store login please friend friends users public article public moments article wechat
    weixin about after before optional linked unknown
"""
_NO_HANDLES = frozenset(_NO_HANDLES_LIST.split())


def find_handles(view: str, _: Clues) -> Iterator[Finding]:
    """Somebody's name in WeChat and the like. Without digits in it, it must be announced: `wechat id: ...`, `微信号...`."""
    for match in _HANDLE.finditer(view):
        name, announced = (
            match["name"].lower(),
            ":" in match["said"] or "=" in match["said"] or match["free"][-1] in "号號",
        )
        if name in _NO_HANDLES or not (announced or re.search(r"[a-z][0-9]|_", name)):
            continue
        yield Finding(*match.span("name"), "[account]")


_QQ = re.compile(
    r"(?i:(?<![a-z])qq|扣扣|企鹅号|企鵝號)(?i:[\s:=\"'(.#/]|微信|同号|同號|wechat|vx|\bis\b|\bid\b|number|no\b|账号|帐号|帳號|号码|號碼|号|號|是|为|為|我的|加我|加){0,8}(?P<name>[1-9]\d{4,10})(?![0-9A-Za-z@])"
)


def find_qq(view: str, _: Clues) -> Iterator[Finding]:
    """Numbers of QQ accounts, which have five digits and more."""
    for match in _QQ.finditer(view):
        if not counted(view, *match.span("name")):
            yield Finding(*match.span("name"), "[account]")


_V4 = re.compile(r"(?<![0-9A-Za-z.])(?:\d{1,3}\.){3}\d{1,3}(?![0-9A-Za-z]|\.[0-9])")
_V6 = re.compile(
    r"(?<![0-9A-Za-z.])(?<![0-9A-Fa-f:]:)(?:[0-9A-Fa-f]{1,4}:|::)(?:[0-9A-Fa-f]{0,4}:){0,6}(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f]{1,4})?(?![0-9A-Za-z:])"
)


def find_machines(view: str, _: Clues) -> Iterator[Finding]:
    """Internet addresses that a provider gave out. A version may look like one: without the word, two of the numbers must be large."""
    for match in _V4.finditer(view):
        parts = match[0].split(".")
        label = label_of(view, match.start())
        plain = all(part == "0" or not part.startswith("0") for part in parts)
        if label in {"version", "kept"} or not plain or not _public(match[0]):
            yield Finding(*match.span(), None)
        elif label == "ip" or (sum(len(part) > 1 for part in parts) >= 2 and any(len(part) == 3 for part in parts)):
            yield Finding(*match.span(), "[ip]")
    for match in _V6.finditer(view):
        if match[0].count(":") < 3 and "::" not in match[0]:
            continue
        if _public(match[0]):
            yield Finding(*match.span(), "[ip]")


def _public(address: str) -> bool:
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    if known.version == 6 and not re.search(r"\d", address):
        return False
    return not (known.is_loopback or known.is_link_local or known.is_multicast or known.is_unspecified or known in _INSIDE)


class _Inside:
    """Networks that are the same in every house."""

    networks = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "0.0.0.0/8", "240.0.0.0/4", "fc00::/7")))

    def __contains__(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return any(address in network for network in self.networks)


_INSIDE = _Inside()
