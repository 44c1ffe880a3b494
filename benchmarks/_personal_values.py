"""Makers of values that are personal, and of values that only look it. Check digits are valid; everything is drawn with a seed."""

import random
from collections.abc import Callable

Make = Callable[[random.Random], str]


def digits(draw: random.Random, count: int, first: str = "0123456789") -> str:
    return draw.choice(first) + "".join(draw.choice("0123456789") for _ in range(count - 1))


def shaped(*shapes: str) -> Make:
    """A shape's `#` is any digit, `+N` style digits stay, `N` is 2 to 9, `A` a capital, `a` a small letter, `x` hexadecimal."""
    signs = {"x": "0123456789abcdef", "#": "0123456789", "N": "23456789", "A": "ABCDEFGHJKLMNPRSTUVWXYZ", "a": "abcdefghjkmnpqrstuvwxyz"}
    return lambda draw: "".join(draw.choice(signs.get(sign, sign)) for sign in draw.choice(shapes))


def luhn_check(body: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 - place % 2)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def card(draw: random.Random) -> str:
    prefix, size = draw.choice(
        [("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15), ("62", 16), ("62", 19), ("6011", 16), ("65", 16), ("3530", 16), ("36", 14), ("6759", 16)]
    )  # fmt: skip
    body = prefix + "".join(draw.choice("0123456789") for _ in range(size - len(prefix) - 1))
    return body + luhn_check(body)


def grouped(sizes_of: Callable[[str], tuple[int, ...]], make: Make, *signs: str) -> Make:
    def made(draw: random.Random) -> str:
        number, sign, pieces, start = make(draw), draw.choice(signs), [], 0
        for size in sizes_of(number):
            pieces.append(number[start : start + size])
            start += size
        return sign.join(pieces)

    return made


def card_groups(number: str) -> tuple[int, ...]:
    return {15: (4, 6, 5), 14: (4, 6, 4), 19: (4, 4, 4, 4, 3)}.get(len(number), (4, 4, 4, 4))


def iban(draw: random.Random) -> str:
    country, size = draw.choice(
        [("DE", 22), ("FR", 27), ("GB", 22), ("NL", 18), ("AT", 20), ("ES", 24), ("BE", 16), ("PL", 28), ("CH", 21), ("IT", 27)]
    )
    bank = {"GB": "NWBK", "NL": "ABNA", "IT": "X"}.get(country, "")
    body = bank + "".join(draw.choice("0123456789") for _ in range(size - 4 - len(bank)))
    check = 98 - int("".join(str(int(sign, 36)) for sign in f"{body}{country}00")) % 97
    written = f"{country}{check:02}{body}"
    return written if draw.random() < 0.5 else " ".join(written[place : place + 4] for place in range(0, size, 4))


def birth(draw: random.Random) -> str:
    return f"{draw.randint(1950, 2005)}{draw.randint(1, 12):02}{draw.randint(1, 28):02}"


def resident(draw: random.Random) -> str:
    body = draw.choice(["110105", "310104", "440305", "510107", "330106", "810000"]) + birth(draw) + digits(draw, 3)
    total = sum(int(digit) * weight for digit, weight in zip(body, (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2), strict=True))
    return body + "10X98765432"[total % 11]


def hkid(draw: random.Random) -> str:
    letter, number = draw.choice("ABCDEGHKMPRSVYZ"), digits(draw, 6)
    total = 36 * 9 + (ord(letter) - 55) * 8 + sum(int(digit) * weight for digit, weight in zip(number, range(7, 1, -1), strict=True))
    return f"{letter}{number}({'0123456789A'[-total % 11]})"


def taiwan(draw: random.Random) -> str:
    letter, body = draw.choice("ABCDEFGHJKLMNPQRSTUVXYWZIO"), draw.choice("1289") + digits(draw, 7)
    value = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(letter) + 10
    total = value // 10 + value % 10 * 9 + sum(int(digit) * weight for digit, weight in zip(body, range(8, 0, -1), strict=True))
    return f"{letter}{body}{-total % 10}"


def french_id(draw: random.Random) -> str:
    body = f"{draw.choice('12')}{draw.randint(50, 99)}{draw.randint(1, 12):02}{draw.randint(10, 95)}{digits(draw, 3)}{digits(draw, 3)}"
    key = f"{97 - int(body) % 97:02}"
    number = body + key
    return number if draw.random() < 0.5 else f"{body[0]} {body[1:3]} {body[3:5]} {body[5:7]} {body[7:10]} {body[10:]} {key}"


def mobile(draw: random.Random) -> str:
    return "1" + draw.choice(["39", "38", "36", "50", "58", "86", "77", "91", "35", "99"]) + digits(draw, 8)


def separated_mobile(draw: random.Random) -> str:
    number, sign = mobile(draw), draw.choice([" ", "-", ".", "—", "–", "·", "/", "－", "_", "‑", " - ", "・"])
    return sign.join((number[:3], number[3:7], number[7:]))


def disguised_mobile(draw: random.Random) -> str:
    number, way = mobile(draw), draw.randrange(5)
    if way == 0:
        return "".join(chr(0xFF10 + int(digit)) for digit in number)
    if way == 1:
        return draw.choice("\u200b\u200d\u2060\u00ad\ufeff").join(number)
    if way == 2:
        return number[:3] + "\u202f" + number[3:7] + "\u2009" + number[7:]
    if way == 3:
        return "".join(chr(draw.choice([0x660, 0x966, 0x1D7CE, 0x6F0]) + int(digit)) for digit in number)
    return "".join(f"{digit}\ufe0f\u20e3" for digit in number)


def uk(draw: random.Random) -> str:
    return (
        draw.choice(
            [shaped("07### ######", "07#########", "020 7### ####", "(020) 7### ####", "0161 4## ####", "01865 2#####", "0117-9##-####")]
        )(draw)
        .replace("070", "077")
        .replace("076", "079")
    )


def german(draw: random.Random) -> str:
    return (
        draw.choice(["0171", "0151", "0160", "0176", "030", "089", "0221", "06221", "(030)", "(0221)"])
        + draw.choice(["/", " ", "-", " / "])
        + draw.choice([shaped("N######"), shaped("N## ####"), shaped("N## ## ##"), shaped("N#######")])(draw)
    )


def french(draw: random.Random) -> str:
    number = draw.choice(["01", "02", "03", "04", "05", "06", "07", "09"]) + digits(draw, 8, "23456789")
    return draw.choice(["", " ", ".", "-", "/"]).join(number[place : place + 2] for place in range(0, 10, 2))


def abroad(draw: random.Random) -> str:
    return draw.choice(
        [
            shaped("+49 171 N######", "+33 6 N# ## ## ##", "+44 7911 1#####", "+44 (0)20 7### ####", "+1 415 555 ####", "+1-212-555-####", "+81 90-N###-####", "+61 4N# ### ###"),
            shaped("+886 912 ### ###", "+852 9### ####", "+853 6### ####", "0049 171 N######", "+65 9### ####", "+39 347 N######", "+34 6## ### ###", "+86 139 #### ####", "(+86) 138########"),
        ]
    )(draw)  # fmt: skip


_NAMES = (
    "jane.doe",
    "li.wei",
    "t.mueller",
    "wang_xm88",
    "marie-claire.d",
    "bob1985",
    "zhang.san",
    "o.kelly+shop",
    "h.schmidt",
    "xiaoming2020",
    "anna.k",
    "j.p.dupont",
)
_HOSTS = (
    "gmail.com",
    "qq.com",
    "163.com",
    "outlook.com",
    "web.de",
    "orange.fr",
    "example.co.uk",
    "mail.example.org",
    "yahoo.com.tw",
    "t-online.de",
)


def mail(draw: random.Random) -> str:
    return f"{draw.choice(_NAMES)}{draw.randint(1, 99)}@{draw.choice(_HOSTS)}"


def far_mail(draw: random.Random) -> str:
    return draw.choice(
        ["jörg@müller.de", "иван.петров@почта.рф", "用户@例子.中国", "zhang.san＠example．com", "renée@société.fr", "li_wei@xn--fsqu00a.xn--0zwm56d", "user@münchen.example", "ｌｉ＠qq.com", "josé.garcía@correo.example", "maria@δοκιμή.gr", "小明@example.com", "j\u200bane@example\u200b.com"]
    )  # fmt: skip


def gtin(size: int, *prefixes: str) -> Make:
    def made(draw: random.Random) -> str:
        body = draw.choice(prefixes)
        body += "".join(draw.choice("0123456789") for _ in range(size - 1 - len(body)))
        total = sum(int(digit) * (1 if place % 2 else 3) for place, digit in enumerate(reversed(body)))
        return body + str(-total % 10)

    return made


_ROLES = """
    support service info kontakt datenschutz copyright dpo privacy returns sav contact reclamations kundenservice kefu customer.service no-reply legal
    presse facturation rueckgabe help sales-uk bestellung ventas ayuda
"""


def roles(draw: random.Random) -> str:
    return draw.choice(_ROLES.split()) + "@" + draw.choice(["shop.example", "laden.example", "harbour.co.uk", "boutique.fr", "shangdian.cn"])  # fmt: skip


def one_of(*values: str) -> Make:
    return lambda draw: draw.choice(values)


def either(*makers: Make) -> Make:
    return lambda draw: draw.choice(makers)(draw)


def ipv4(draw: random.Random) -> str:
    return f"{draw.choice([81, 91, 113, 203, 212, 185, 58, 124])}.{draw.randint(16, 250)}.{draw.randint(0, 255)}.{draw.randint(100, 254)}"


def ipv6(draw: random.Random) -> str:
    return draw.choice([shaped("2001:db8:85c3::8b2e:370:x3x4"), shaped("2003:c8:1xx0:1c2d:e1xx:4ff:fe3x:12##"), shaped("240e:3x0:1x#::#")])(
        draw
    )
