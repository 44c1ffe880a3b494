"""What a number is called: the words before it, in Chinese (both scripts), English, German and French, read backwards from the number."""

import re
from typing import Literal

Kind = Literal["kept", "version", "phone", "card", "document", "bank", "handle", "ip"]

_WORDS: dict[Kind, str] = {
    # Numbers of things.
    "kept": """
        order|orders|ord|booking|reservation|tracking|track|parcel|parcels|package|shipment|waybill|awb|consignment|delivery note|invoice|inv|
        receipt|lot|batch|serial|s/n|sn|part|parts|p/n|pn|model|item|items|sku|asin|mpn|article|product|products|upc|ean|gtin|isbn|issn|barcode|
        imei|imei1|imei2|meid|ticket|case|ref|reference|transaction|txn|po|rma|ref.|inv.|ord.|art.|réf.|bestell-nr.|art.-nr.|best.-nr.|rechn.-nr.|claim|quote|offer|voucher|coupon|gift card|promo code|contract|policy number|mac|
        total|total of|sum|amount|balance|points|price|usd|eur|gbp|rmb|cny|krw|jpy|zip|zip code|postcode|hs code|tariff code|company number|
        registration number|vat|vat id|asset|stock|warehouse|bin|container|document number|doc|id of the order|order id|product id|
        item id|transaction id|ticket id|case id|request id|session id|trace id|error|error code|job|build number|pack|
        订单|订单号|订单编号|单号|运单|运单号|快递|快递单|快递单号|物流单|物流单号|物流|包裹|发票|发票代码|发票号码|发票号|税号|批次|批号|批次号|序列|序列号|
        条码|条形码|商品条码|商品|货号|型号|零件|零件号|产品|产品编号|商品编号|商品编码|流水|流水号|交易|交易号|交易单号|支付单号|编号|编码|工单|工单号|案件|退货|退货单|退款单|
        售后单|合同|合同号|采购单|入库单|出库单|优惠券|券号|兑换码|礼品卡|总计|合计|共计|金额|价格|总价|积分|余额|机身号|机身码|出厂编号|统一社会信用代码|信用代码|邮编|
        款号|料号|设备号|资产编号|服务单|服务单号|投诉单|案例|请求号|追踪|追踪号|取件码|柜号|集装箱|卷号|会话|错误码|
        訂單|訂單號|訂單編號|單號|運單|運單號|快遞|快遞單|快遞單號|物流單|物流單號|包裹|發票|發票代碼|發票號碼|統一編號|統編|批號|批次號|序號|序列號|條碼|商品條碼|
        商品|貨號|型號|零件|零件號|產品|產品編號|商品編號|流水號|交易|交易號|編號|編碼|工單|案件|退貨單|退款單|合約|採購單|優惠券|券號|兌換碼|禮品卡|總計|合計|金額|價格|
        總價|點數|積分|餘額|機身碼|郵遞區號|追蹤|追蹤號|貨櫃|
        bestellung|bestell|bestellnummer|bestellnr|auftrag|auftrags|auftragsnummer|auftragsnr|rechnung|rechnungs|rechnungsnummer|rechnungsnr|sendung|sendungs|
        sendungsnummer|sendungsverfolgung|artikel|artikelnummer|artikelnr|serien|seriennummer|seriennr|charge|chargen|chargennummer|teile|teilenummer|ersatzteil|
        vorgang|vorgangs|vorgangsnummer|gutschein|gutscheincode|lieferschein|paket|paketnummer|referenz|modell|modellnummer|ust-id|vertrag|vertragsnummer|summe|betrag|
        kundennummer|kundennr|
        commande|commandes|facture|factures|colis|suivi|numéro de suivi|lot|référence|réf|série|numéro de série|article|pièce|produit|modèle|
        ticket de caisse|bon|bon de livraison|code-barres|code barres|siret|siren|montant|total de|contrat|dossier|avoir
    """,
    "version": """
        version|versions|ver|v|release|build|firmware|fw|driver|app|ios|android|windows|chrome|firefox|safari|kernel|upgrade|update|updated|downgrade|patch|software|section|
        chapter|clause|paragraph|oid|版本|版本号|固件|系统|驱动|升级|更新|软件|韌體|版本號|驅動|軟體|升級|章节|章節|条款|條款|abschnitt|kapitel|treiber|micrologiciel|logiciel
    """,
    "phone": """
        wa.me|phone|phones|telephone|mobile|mob|cell|cellphone|cell phone|whatsapp|tel|tele|ph|hp|call|call me|call us|call him|call her|text|text me|sms|ring|ring me|dial|
        reach me|reach us|reach him|reach her|contact me|contact number|callback|call back|phone me|my number|our number|his number|her number|new number|mobile number|
        reachable|landline|fax|hotline|home number|work number|message me|viber|facetime|
        电话|手机|手机号|联系电话|联系手机|致电|来电|联系方式|打给我|打我|拨打|回电|回拨|座机|固话|传真|短信|我的号码|号码是|号码为|联系我|微信同号|
        電話|手機|手提|手提電話|行動電話|聯絡電話|連絡電話|聯繫電話|聯絡方式|聯繫方式|致電|來電|打給我|撥打|回電|傳真|簡訊|我的號碼|號碼是|號碼為|聯絡我|聯繫我|
        telefon|telefonnummer|telefonnr|handy|handynummer|handynr|mobil|mobilnummer|mobilfunk|rufnummer|festnetz|festnetznummer|rückruf|durchwahl|
        meine nummer|unsere nummer|anrufen|ruf mich an|rufen sie mich an|rufen sie|ruf|erreichbar|erreichen|erreichen sie mich|
        téléphone|telephone|tél|portable|mon numéro|mon portable|notre numéro|appelez|appelez-moi|appelle-moi|appeler|joignable|joindre|me joindre|rappeler|rappelez-moi|
        contactez-moi|fixe
    """,
    "card": """
        card|card number|credit card|debit card|visa|mastercard|amex|american express|unionpay|discover|jcb|diners|maestro|cc|pan|
        卡号|银行卡|信用卡|储蓄卡|借记卡|银联|卡|卡號|銀行卡|信用卡|金融卡|銀聯|karte|kartennummer|kreditkarte|kreditkartennummer|carte|carte bancaire|carte bleue|numéro de carte
    """,
    "bank": """
        bank account|bank account number|account number|sort code|routing|routing number|aba|iban|银行账号|银行账户|银行帐号|收款账号|账号|帐号|对公账号|开户账号|
        銀行帳號|銀行帳戶|收款帳號|帳號|konto|kontonummer|kontonr|bankkonto|bankverbindung|numéro de compte|compte bancaire|compte
    """,
    "document": """
        passport|identity card|national id|id card|id number|driver's license|driver's licence|drivers license|driving licence|driving license|driver license|
        license number|licence number|social security number|social security|ssn|nhs number|national insurance number|national insurance|residence permit|tax id|hkid|
        护照|身份证|证件|通行证|台胞证|回乡证|驾驶证|驾照|居住证|居留证|军官证|社保卡|社保号|社会保障卡|港澳居民来往内地通行证|港澳通行证|往来港澳通行证|台湾居民来往大陆通行证|
        澳门居民身份证|车牌|车牌号|車牌|車牌號|香港身份证|学生证|出生证|医保卡|入台证|
        護照|身份證|身分證|證件|通行證|台胞證|臺胞證|回鄉證|駕駛證|駕照|居留證|居住證|入台證|健保卡|
        reisepass|reisepassnummer|passnummer|ausweis|ausweisnummer|ausweisnr|personalausweis|personalausweisnummer|führerschein|führerscheinnummer|aufenthaltstitel|
        steuer-id|steuer-identifikationsnummer|steueridentifikationsnummer|sozialversicherungsnummer|rentenversicherungsnummer|versichertennummer|
        passeport|carte d'identité|carte nationale d'identité|cni|permis de conduire|titre de séjour|numéro de sécurité sociale|sécurité sociale|numéro fiscal
    """,
    "handle": "qq|扣扣|企鹅号|企鵝號|qq群",
    "ip": "ip|ip address|ip addr|ipv4|ipv6|ip地址|ip 地址|ip-adresse|adresse ip",
}
WORDS: dict[Kind, tuple[str, ...]] = {
    kind: tuple(sorted({word.strip() for word in text.split("|")} - {""}, key=len, reverse=True)) for kind, text in _WORDS.items()
}
"""Longest first."""

STEMS = (
    "pass", "ident", "card", "licen", "permi", "ssn", "social", "ausweis", "steuer", "tax", "hkid", "cni", "nhs", "insur", "versich", "national id", "id number",
    "titre", "fiscal", "aufenthalt", "hrerschein", "qq",
)  # fmt: skip
HAN_STEMS = ("证", "證", "照", "社保", "社会保", "医保", "健保", "车牌", "車牌", "扣扣", "企鹅", "企鵝")
"""One of these is in every word for a document or a QQ account."""

_BETWEEN_LIST = """
    number numbers numero numéro nummer num no nr n° nos id ids code codes is are was at on us me my the under us: ist lautet sind
    unter est au le la sur à mich 号码 号 號碼 号碼 號 码 碼 编号 編號 是 为 為 我的 请 請 打 拨 撥 在 一下 给 給 了 和 或 s
"""
_BETWEEN = _BETWEEN_LIST.split()
"""What may stand between a word and a number of a person, beside spaces and punctuation."""
_SHORT_BETWEEN_LIST = """
    number numbers numero numéro nummer num no no. nr nr. n° nos id ids code codes is ist est 号码 号 號碼 号碼 號 码 碼 编号 編號 是 为 為
"""
_SHORT_BETWEEN = _SHORT_BETWEEN_LIST.split()
"""The same for things. A comma or a full stop ends what was said about them."""
_REACH = 64


def _backwards(words: tuple[str, ...] | list[str]) -> str:
    """An alternation of the words in reverse. A word of letters must begin where it stands, one of ideographs need not."""
    return "|".join(
        re.escape(word[::-1]) + (r"(?![^\W\d_\u2e80-\uffff])" if word[0].isalpha() and word[0] < "\u2e80" else "")
        for word in sorted(words, key=len, reverse=True)
    )


def _kinds(*kinds: Kind) -> str:
    return "(?:" + "|".join(f"(?P<{kind}>{_backwards(WORDS[kind])})" for kind in kinds) + ")"


_PERSONS = re.compile(
    rf"(?:[\s:#.,=\"'()*/|>·_?\-\[\]]|{_backwards(_BETWEEN)}){{0,14}}{_kinds('phone', 'card', 'bank', 'document', 'handle', 'ip')}"
)
_THINGS = re.compile(rf"(?:[\s:#=\"'()*/·_\-\[\]]|{_backwards(_SHORT_BETWEEN)}){{0,8}}{_kinds('kept', 'version')}")


def label_of(text: str, start: int) -> Kind | None:
    """What the words right before `start` call that which begins there. A gift card is no card."""
    before = text[max(0, start - _REACH) : start].lower()[::-1]
    person = _PERSONS.match(before)
    if person and person.lastgroup != "card":
        return person.lastgroup  # type: ignore[return-value]
    thing = _THINGS.match(before)
    if person and not (thing and thing["kept"] and len(thing["kept"]) > len(person["card"])):
        return "card"
    return thing.lastgroup if thing else None  # type: ignore[return-value]
