"""What a template or a spreadsheet left in an answer: placeholders that nobody filled, error values, numbers cut short."""

import re

_CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
_NOUN = (
    r"(?:name|names|number|numbers|no|nr|date|dates|time|address|email|e-mail|mail|phone|telephone|link|url|website|amount|price|title|company|"
    r"product|products|item|items|order|order_?id|id|city|country|state|street|department|position|signature|details|reason|percentage|period|"
    r"hours|location|brand|model|username|code|tracking|service|policy|store|shop|agent|customer|client|user|team|deadline|duration|"
    r"days|text|value|field|placeholder|here)"
)
_LEAD = r"(?:your|insert|enter|add|fill(?: in)?|provide|specify|customer|client|company|agent|order|user|recipient|sender|the|our|their|my)"
_PHRASE = rf"(?:{_LEAD}(?:'s)?[ _-](?:[A-Za-z']+[ _-]){{0,4}}{_NOUN}|(?:[A-Za-z']+[ _-]){{1,3}}{_NOUN}|(?:insert|enter|your)[ _-][A-Za-z _-]{{2,40}})"
_WORD = r"(?:Name|Date|Number|Company|Customer|Amount|Address|NAME|DATE|NUMBER|COMPANY|CUSTOMER|AMOUNT|ADDRESS|EMAIL|PHONE|URL|LINK|TIME|name|date|company|amount|address|link|url)"
_HAN_NOUN = r"(?:姓名|名字|名称|公司名?|订单号?|单号|日期|时间|电话|手机号?|地址|邮箱|编号|链接|金额|网址|客户|用户名?|产品名?|商品名?|部门|职位|天数)"
_NO_TAG = (
    r"(?!/?(?:a|abbr|address|article|aside|b|blockquote|body|br|button|caption|center|cite|code|dd|del|details|div|dl|dt|em|figure|font|footer|form|"
    r"h[1-6]|head|header|hr|html|i|img|input|ins|label|li|link|main|mark|meta|nav|ol|option|p|path|pre|q|s|script|section|select|small|span|"
    r"strong|style|sub|summary|sup|svg|table|tbody|td|textarea|tfoot|th|thead|time|title|tr|u|ul|var|video)\s*/?>)"
)
_PLACEHOLDERS = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        (r"\{\{[^{}\n]{1,80}\}\}|\{%[^{}\n]{1,80}%\}|<%=?[^<>\n]{1,80}%>", 0),
        (r"\$\{[^{}\n]{1,60}\}|#\{[^{}\n]{1,60}\}", 0),
        (r"(?<![\w\\}^$#{])\{(?:[0-9]{1,2}|[A-Za-z][\w .-]{1,40}|[\u4e00-\u9fff][\u4e00-\u9fff ]{0,12})\}(?!\})", 0),
        (r"\[\[[^\[\]\n]{2,60}\]\]", 0),
        # A Markdown link has its target behind it: [your order](https://...), and a reference its label: [your order][1].
        (rf"\[(?:{_PHRASE}|{_LEAD})\](?![(\[:])", re.IGNORECASE),
        (rf"\[{_WORD}\](?![(\[:])", 0),
        (r"\[[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\](?![(\[:])", 0),
        (r"[\[【<][^\[\]【】<>\n]{0,6}(?:您的|你的|请填写|请输入|填写|输入|插入)[^\[\]【】<>\n]{0,12}[\]】>](?!\()", 0),
        (rf"[\[【<][\u4e00-\u9fff]{{0,4}}{_HAN_NOUN}[\]】>](?!\()", 0),
        (rf"(?<![\w<])<{_NO_TAG}(?:{_PHRASE})>(?!>)", re.IGNORECASE),
        (rf"(?<![\w<])<{_NO_TAG}[A-Z][A-Z0-9]+(?:[ _-][A-Z0-9]+)*>(?!>)", 0),
        (rf"(?<![\w<])<{_NO_TAG}[a-z]+(?:_[a-z]+)+>(?!>)|<<[^<>\n]{{2,60}}>>", 0),
        (r"%\([A-Za-z_]\w*\)[sd]|(?<![\w%0-9])(?<![0-9] )%s\b|(?<![\w%])%[A-Z][A-Z_]{2,40}%(?!\w)", 0),
        (r"(?<![A-Za-z0-9_#-])X{3,}(?![A-Za-z0-9_-])|(?<![A-Za-z0-9_-])[Xx×]{2,}(?=\s?(?!码)[\u4e00-\u9fff])|某某(?=公司|先生|女士|店|地|平台|客服)", 0),
        (r"(?<![_\w])_{4,}(?![_\w])(?!\s*$)|(?<=\w )_{4,}", re.MULTILINE),
    )
)  # fmt: skip
_ERRORS = re.compile(
    r"(?<![\w#&/'\"“(])#(?:N/A|N/D|N/V|NV|NAME\?|NOM\s?\?|REF!|BEZUG!|RIF!|VALUE!|WERT!|VALEUR!|VALORE!|DIV/0!|NULL!|NULO!|NUL\s?!|NUM!|ZAHL!|NOMBRE!|"
    r"SPILL!|CALC!|FIELD!|BLOCKED!|CONNECT!|UNKNOWN!|ERROR!|BUSY!|GETTING_DATA|EXTERNAL!|PYTHON!|TIMEOUT!|¡VALOR!|¡REF!|¡DIV/0!|¡NUM!|¿NOMBRE\?)(?![\w\"'”)])"
)
_ONLY_ERROR = re.compile(r"#[¡¿]?[A-ZÀ-Þ/0_]{2,14}\s?[!?]|#(?:N/A|N/D|N/V|NV|GETTING_DATA)|#{3,}|Err:[0-9]{3}")
_CUT_NUMBER = re.compile(r"(?<![\w.,])[0-9](?:[.,][0-9]+)?E\+(?:1[1-9]|[2-9][0-9]|[1-9][0-9]{2})(?!\w)")
_ONLY_CUT_NUMBER = re.compile(r"-?[0-9](?:[.,][0-9]+)?[Ee]\+[0-9]{2,3}")
_LONGEST = 60


def placeholder_in(text: str) -> str | None:
    """A place that a template left to be filled in; what stands in code is a description of one."""
    plain = _CODE.sub(" ", text)
    return next((match.group().strip()[:_LONGEST] for pattern in _PLACEHOLDERS if (match := pattern.search(plain))), None)


def spreadsheet_error_in(text: str) -> str | None:
    """A spreadsheet's error value, or a long number as a spreadsheet shortens it (1.23457E+17); quoted and as code they are what is spoken of."""
    whole = text.strip()
    if _ONLY_ERROR.fullmatch(whole) or _ONLY_CUT_NUMBER.fullmatch(whole):
        return whole
    plain = _CODE.sub(" ", text)
    match = _ERRORS.search(plain) or _CUT_NUMBER.search(plain)
    return match.group() if match else None
