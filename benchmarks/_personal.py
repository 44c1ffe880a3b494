"""Labelled lines: what must be masked, and what must stay, in the words of customers and agents.

A kind has a maker of values and templates. Every third template is held back: nobody looked at those lines while the rules were written,
and the benchmark reports them apart. Values have valid check digits and are drawn with a seed.
"""

import random
from collections.abc import Iterator
from typing import NamedTuple

from _personal_values import (
    Make,
    abroad,
    card,
    card_groups,
    disguised_mobile,
    either,
    far_mail,
    french,
    french_id,
    german,
    grouped,
    gtin,
    hkid,
    iban,
    ipv4,
    ipv6,
    mail,
    mobile,
    one_of,
    resident,
    roles,
    separated_mobile,
    shaped,
    taiwan,
    uk,
)


class Kind(NamedTuple):
    name: str
    personal: bool
    make: Make
    templates: tuple[str, ...]
    """`{x}` is the value. The third, the sixth and so on are held back."""


class Line(NamedTuple):
    kind: str
    personal: bool
    held_back: bool
    before: str
    value: str
    after: str

    @property
    def text(self) -> str:
        return self.before + self.value + self.after


def lines(seed: int, each: int) -> Iterator[Line]:
    """`each` lines of every kind, a third of them from templates that are held back."""
    for kind in KINDS:
        draw = random.Random(f"{seed} {kind.name}")
        for number in range(each):
            place = number % len(kind.templates)
            before, after = kind.templates[place].split("{x}")
            yield Line(kind.name, kind.personal, place % 3 == 2, before, kind.make(draw), after)


PHONE = (
    "my phone is {x}, thanks",
    "手机号码：{x}",
    "you can ring me on {x} after six",
    "请打{x}联系我",
    "Please call {x} tomorrow.",
    "换成{x}了，请更新",
)
BARE = ("{x}", "我叫李雷，{x}，麻烦尽快", "Delivery to Jane, {x}, second floor", "收件人 王芳 {x} 杭州市", "name: Tom\ttel: {x}", "({x})")
KINDS = (
    Kind("email", True, mail, ("write to {x} please", "我的邮箱是{x}谢谢", "Mail: <{x}>", "联系 {x}，不要打电话", "it's {x}.", "用{x}注册的账号登录不了")),
    Kind("email.international", True, far_mail, ("mail me at {x} please", "邮箱 {x}", "My address is {x}, not the old one.", "电子邮件：{x}", "Meine Adresse ist {x}", "联系邮箱：{x}。")),
    Kind("phone.cn.mobile", True, mobile, (*PHONE, *BARE)),
    Kind("phone.cn.separated", True, separated_mobile, (*PHONE, *BARE)),
    Kind("phone.cn.glued", True, mobile, ("wx{x}", "Tel{x}", "加我vx{x}", "手机{x}微信同号", "phone:{x}or email", "电话/微信{x}转张三")),
    Kind("phone.cn.landline", True, shaped("010-6N######", "021 5N######", "0755-8N######", "(0571) 8N######", "0512.6N######", "02887######".replace("02887", "028-8")), PHONE),
    Kind("phone.disguised", True, disguised_mobile, ("我的手机{x}", "call {x} now", "联系 {x} 谢谢", "{x}", "my number: {x}", "打这个{x}吧")),
    Kind("phone.hk_macau", True, shaped("9### ####", "6### ####", "5#######", "2###-####"), ("電話{x}", "請致電 {x} 聯絡我", "手提電話：{x}", "Tel: {x}", "我嘅電話號碼係 {x}".replace("係", "是"), "WhatsApp {x}")),
    Kind("phone.taiwan", True, shaped("09## ### ###", "09##-###-###", "09########", "(02) 2###-####", "02-2###-####", "04-22##-####"), ("手機 {x}", "聯絡電話：{x}", "請打{x}找我", "請回電 {x}，謝謝", "行動電話{x}", "my mobile is {x}")),
    Kind("phone.us", True, shaped("(415) 555-####", "212-555-####", "N1N-N##-####", "303.555.####", "1-415-555-####", "650 555 ####"), (*PHONE[::2], *BARE[::2])),
    Kind("phone.announced", True, shaped("415555####", "2125550###", "1415555####", "3035550###"), ("my number is {x}", "call me at {x} please", "我的电话是{x}", "you can reach me on {x}", "联系电话 {x}", "text me: {x}", "Contact number {x}.", "打给我 {x}", "Rufen Sie mich an: {x}", "mon numéro est le {x}", "My cell's {x}", "拨打{x}即可")),
    Kind("phone.uk", True, uk, ("call me on {x}", "My mobile: {x}.", "try {x} in the morning", "{x} is best", "phone {x}, Jane", "ring {x} please")),
    Kind("phone.de", True, german, ("Rufen Sie mich unter {x} an", "Meine Nummer ist {x}.", "Tel. {x}", "erreichbar unter {x}", "Handy: {x}", "Bitte um Rückruf: {x}, danke")),
    Kind("phone.fr", True, french, ("Appelez-moi au {x}", "mon portable : {x}", "Tél. {x}", "joignable au {x} le soir", "Vous pouvez me rappeler au {x}.", "Je suis Marie, {x}, merci")),
    Kind("phone.abroad", True, abroad, (*PHONE, *BARE)),
    Kind("card", True, card, ("card {x} was charged twice", "我的卡号是{x}", "paid with {x} yesterday", "信用卡{x}被扣款", "{x}", "Karte {x} wurde belastet")),
    Kind("card.separated", True, grouped(card_groups, card, " ", "-", ".", "·", "–"), ("my card is {x}, please check", "银行卡：{x}", "VISA {x} declined", "卡 {x} 被重复扣款", "Ma carte {x} est refusée", "number {x} on the front")),
    Kind("card.glued", True, card, ("{x} 12/28", "card {x}-123", "卡号{x} 有效期 09/27 安全码 123", "{x} exp 01/29 cvv 987", "{x}/0828/123", "VISA{x}，cvv 321")),
    Kind("iban", True, iban, ("IBAN {x}", "refund to {x} please", "Meine IBAN lautet {x}.", "退款到 {x}", "Virement sur {x}, merci", "{x} is mine")),
    Kind("id.cn", True, resident, ("身份证号{x}", "我的身份证是 {x}，请核实", "ID {x}", "身分證字號：{x}", "实名认证用的{x}", "{x}")),
    Kind("id.cn.written", True, lambda draw: draw.choice([lambda x: x.replace("X", "Ｘ"), lambda x: x.replace("X", "x"), lambda x: f"{x[:6]} {x[6:14]} {x[14:]}", lambda x: f"{x[:6]}-{x[6:14]}-{x[14:]}", lambda x: "".join(chr(0xFEE0 + ord(c)) for c in x), lambda x: f"{x[:6]}{x[8:17]}"])(resident(draw)), ("身份证{x}", "证件号码：{x}", "身份证号码 {x} 张三", "本人{x}申请退款", "my ID card number is {x}", "實名：{x}")),
    Kind("id.hk", True, hkid, ("HKID {x}", "香港身份證 {x}", "My HK identity card: {x}", "身份證號碼是{x}", "{x} is my id", "證件 {x}，請查")),
    Kind("id.taiwan", True, taiwan, ("身分證 {x}", "我的身分證字號是{x}", "Taiwan ID {x}", "證號 {x}", "{x}，請協助", "national id: {x}")),
    Kind("id.macau", True, shaped("1######(#)", "5######(#)", "7######(#)"), ("澳门身份证{x}", "澳門居民身份證 {x}", "Macau ID {x}", "证件{x}", "my ID card is {x}", "BIR {x}")),
    Kind("id.permit", True, shaped("########", "H########", "M########", "C########", "H##########"), ("台胞证{x}", "港澳通行证号码：{x}", "回乡证 {x}", "臺胞證{x}", "回鄉證號碼 {x}", "通行证号是{x}，请登记")),
    Kind("id.passport", True, shaped("E########", "G########", "AB#######", "#########", "C01X00T47", "12AB34567"), ("my passport number is {x}.", "护照号码：{x}", "passport {x}", "护照{x}", "Reisepass Nr. {x}", "護照號碼 {x}", "Mon passeport: {x}", "Passport no: {x}", "passport # {x}, expires soon")),
    Kind("id.other", True, shaped("L01X00T471".replace("471", "4##"), "D########", "##########", "A###-####-####"), ("driver's license {x}", "Personalausweis {x}", "驾驶证号{x}", "Führerschein Nr. {x}", "permis de conduire n° {x}", "居住证 {x}", "Ausweisnummer: {x}", "carte d'identité {x}", "駕照號碼：{x}")),
    Kind("id.us", True, lambda draw: f"{draw.choice([123, 219, 457, 541])}{(sign := draw.choice('- –.'))}{draw.randint(10, 99)}{sign}{draw.randint(1000, 9999)}", ("SSN {x}", "my social security number is {x}", "社会安全号 {x}", "{x} is my SSN", "social: {x}.", "last four wrong, full is {x}")),
    Kind("id.uk", True, lambda draw: draw.choice(["AB {0} {1} {2} C", "AB{0}{1}{2}C", "JG{0}{1}{2}A", "ce {0} {1} {2} d"]).format(*(f"{draw.randint(10, 99)}" for _ in range(3))), ("NI number {x}", "National insurance: {x}", "{x} is my NINO", "my NI is {x}.", "国民保险号 {x}", "NINO {x}")),
    Kind("id.fr", True, french_id, ("numéro de sécurité sociale {x}", "NIR : {x}", "{x} est mon numéro", "mon numéro de sécu {x}", "sécu {x}, merci", "n° {x}")),
    Kind("account.qq", True, shaped("N####", "1########", "N#########", "N#######"), ("QQ号 {x}", "加我QQ{x}", "qq: {x}", "我的QQ是{x}", "QQ {x}", "扣扣{x}", "QQ號碼：{x}", "my QQ is {x}", "QQ群外联系 QQ:{x}")),
    Kind("account.wechat", True, either(shaped("aaaaa_##", "aaaaaaa####", "Aaaa-aaa##", "aaa####aa")), ("微信号 {x}", "加我微信{x}", "WeChat ID: {x}", "微信：{x}", "my wechat is {x}", "微信號是{x}", "vx:{x}", "加微信 {x} 聊", "Wechat {x}")),
    Kind("account.bank", True, shaped("########", "##########", "############"), ("bank account {x}", "银行账号 {x}", "Kontonummer {x}", "account number: {x}", "收款账号：{x}", "numéro de compte {x}", "my bank account number is {x}", "Konto {x}", "銀行帳號 {x}")),
    Kind("ip.v4", True, ipv4, ("my IP is {x}", "IP地址 {x} 登录异常", "login from {x} at night", "来自{x}的登录不是我", "IP: {x}", "blocked ip {x}")),
    Kind("ip.v6", True, ipv6, ("my IPv6 is {x}", "登录IP {x}", "login from {x} today", "IP地址：{x}", "address {x}", "来自 {x} 的访问")),
    # What stays.
    Kind("order", False, shaped("0#########", "20261122######", "49649240####", "1##########", "30##-######-##", "##############", "A########"), ("order {x}", "订单号{x}", "Order no. {x} has not arrived", "訂單編號：{x}", "my order number is {x}", "订单 {x} 还没发货", "Bestellnummer {x}", "order #{x} please", "commande n° {x}")),
    Kind("tracking", False, shaped("1Z999AA1##########", "SF#############", "YT#############", "9400##################", "7###########", "RR#########CN", "JD##############"), ("tracking {x}", "快递单号{x}", "tracking number: {x}", "运单号 {x}", "Sendungsnummer {x}", "物流單號：{x}", "parcel {x} is late", "numéro de suivi {x}", "顺丰单号 {x}")),
    Kind("invoice", False, shaped("0110020#####", "########", "INV-2026-######", "044002######", "RE##########"), ("发票代码{x}", "invoice {x}", "Rechnungsnummer {x}", "发票号码：{x}", "facture {x}", "invoice no. {x} is wrong", "發票號碼 {x}", "Rechnung Nr. {x}", "receipt {x}")),
    Kind("barcode", False, either(gtin(13, "690", "693", "978", "40", "50", "3"), gtin(12, "0", "7", "8"), gtin(14, "1", "0069")), ("UPC {x}", "条码{x}", "EAN: {x}", "barcode {x}", "商品条形码 {x}", "the box says {x}", "扫码是{x}", "{x}", "gtin {x} unknown")),
    Kind("serial", False, shaped("SO20##########", "SN##########", "C02########", "##########", "0#########", "ABC#######", "1##########"), ("S/N {x}", "serial number {x}", "序列号{x}", "Seriennummer: {x}", "机身号 {x}", "序號 {x} 的機器", "SN {x}", "the serial is {x}", "numéro de série {x}")),
    Kind("part", False, shaped("010-0####-##", "0#########", "4#-######-##", "WD-########", "####-####-##"), ("part {x}", "part number {x}", "零件号{x}", "P/N {x}", "Artikelnummer {x}", "货号：{x}", "SKU {x}", "型号{x}", "Ersatzteil {x}")),
    Kind("lot", False, shaped("00########", "L#########", "202611####", "0#########"), ("lot {x}", "批号{x}", "batch {x}", "批次：{x}", "Charge {x}", "lot number {x} recalled", "Lot-Nr. {x}", "生产批号 {x}", "numéro de lot {x}")),
    Kind("ticket", False, shaped("##########", "0#########", "CASE-########", "1##########"), ("ticket {x}", "case number {x}", "工单号{x}", "Vorgangsnummer {x}", "reference {x}", "售后单 {x}", "your ref {x}", "投诉单{x}", "RMA {x}")),
    Kind("date", False, one_of("2026-11-22", "22/11/2026 10:30", "2026年11月22日", "2026/1/5", "11.12.2026", "2026-11-22T10:30:00", "20261122", "12/28", "2025-2026"), ("delivered {x}", "{x}下单", "since {x}, no news", "预计{x}到货", "call me on {x}", "{x}之前退货", "seit dem {x}", "打电话 {x}", "on {x} 14 days later")),
    Kind("price", False, shaped("£29.90", "$1,299.00", "¥1299", "1.299,00 €", "USD 1299000", "1299000 won", "12,990,000 VND", "￥1,234,567.00", "1234567 元"), ("it costs {x}", "一共{x}", "mobile {x}", "手机 {x}", "phone for {x}", "总价{x}，包邮", "refund of {x}", "Betrag: {x}", "paid {x} twice")),
    Kind("amount", False, shaped("+1234### points", "12345## 积分", "10000000 steps", "5000000 users", "1500000 km", "1234567 件", "20000000 mAh", "+1000000 views"), ("a total of {x}", "我有{x}", "you get {x}", "累计{x}", "over {x} so far", "手机 {x}", "still {x} left", "最多{x}", "about {x} this year")),
    Kind("version", False, one_of("1.2.3.4", "10.0.19041.1288", "4.18.0.21", "120.0.6099.129", "3.12.0.45", "2.1.0.100", "17.4.1", "12.34.56.78"), ("version {x}", "固件版本{x}", "firmware {x}", "升级到{x}", "app version {x} crashes", "系統版本 {x}", "update to v{x}", "驱动 {x}", "Version: {x} installiert")),
    Kind("package", False, one_of("foo@1.2.3", "@scope/lib@4.5.6", "icon@2x.png", "logo@3x.jpg", "react@18.2.0-rc.1", "user@host", "3@4.50", "photo@home.jpeg", "2@1.99"), ("npm i {x}", "文件{x}打不开", "see {x}", "图标 {x}", "{x} each", "上传{x}", "open {x}", "安装{x}", "missing {x} here")),
    Kind("role", False, roles, ("write to {x}", "请发邮件到{x}", "contact {x} for help", "客服邮箱：{x}", "Schreiben Sie an {x}.", "投诉请联系 {x}", "écrivez à {x}", "mail {x}, please", "联系{x}即可")),
    Kind("toll_free", False, shaped("0800 123 4###", "400-123-4###", "4001234###", "1-800-555-####", "(888) 555-####", "800-820-####", "0808 157 0###", "0800 1234###"), ("call {x}", "客服电话{x}", "our hotline is {x}", "请拨打 {x}", "Rufen Sie {x} an", "免费电话：{x}", "phone {x} (free)", "致电{x}咨询", "Tel. {x}")),
    Kind("model", False, one_of("XPS-13-9310", "iPhone 15 Pro Max 256", "RTX 4090 24", "WH-1000XM5", "A2894", "LG 27UP850", "ThinkPad X1 20XW0055", "SM-G9910", "GTIN-frei 2000"), ("model {x}", "型号{x}", "I have a {x}", "我买的{x}", "Is the {x} in stock?", "{x}有货吗", "Modell {x}", "手机 {x}", "phone {x}")),
    Kind("hash", False, shaped("3fa85f64-5717-4562-b3fc-2c963f66af##", "9f86d081884c7d659a2feaa0c55ad015", "c0ffee#########d", "550e8400-e29b-41d4-a716-4466554400##", "a1b2c3d4e5f6"), ("id {x}", "请求ID {x}", "request {x} failed", "会话{x}", "trace {x}", "错误码 {x}", "session {x}", "{x}", "hash: {x}")),
    Kind("measure", False, one_of("12.5 % of 1,000,000", "4 x 250 g", "220-240 V, 50/60 Hz", "1920x1080", "100 x 200 x 300 mm", "-20 to 60 °C", "10 000 mAh", "1:1000", "2.4/5 GHz"), ("it is {x}", "规格{x}", "size {x}", "参数：{x}", "with {x}", "电压 {x}", "about {x}", "尺寸为{x}", "Maße {x}")),
    Kind("network.inside", False, one_of("192.168.1.1", "10.0.0.1", "127.0.0.1", "172.16.0.1", "255.255.255.0", "192.168.0.254", "::1", "fe80::1", "10:30:45"), ("open {x} in a browser", "路由器地址{x}", "go to {x}", "网关是 {x}", "IP {x}", "登录{x}设置", "mask {x}", "输入{x}", "at {x} sharp")),
    Kind("duration", False, one_of("14 days", "30 天", "9:00-17:30", "24/7", "3-5 business days", "7 天无理由", "within 48 hours", "2 years (730 days)", "9:00 至 21:00"), ("returns: {x}", "退货期{x}", "call us {x}", "客服时间 {x}", "open {x}", "电话服务{x}", "{x} for refunds", "请在{x}内联系", "reach us {x}")),
    Kind("isbn", False, one_of("978-7-111-12345-6", "978-3-16-148410-0", "9787111123453", "0-306-40615-2", "7-302-12345-6"), ("ISBN {x}", "书号ISBN{x}", "the book, ISBN: {x}", "isbn {x}", "ISBN号 {x}", "ISBN-Nr. {x}")),
    Kind("place", False, one_of("31.230416, 121.473701", "48.8566,2.3522", "52.520008 13.404954", "SW1A 1AA", "邮编 310000", "zip 94103-1234", "90210", "10115 Berlin"), ("at {x}", "坐标{x}", "deliver to {x}", "位置：{x}", "address {x}", "在{x}附近", "near {x}", "地址 {x}", "in {x}")),
    Kind("link", False, one_of("https://shop.example/item/100012043978", "http://shop.example/p?id=20261122001", "https://x.example/a/0123456789.html", "shop.example/orders/49649240100", "https://shop.example/v2/20261122"), ("see {x}", "链接{x}", "link: {x}", "打开 {x}", "at {x} please", "商品 {x}")),
    Kind("card.like", False, either(shaped("1234 5678 9012 3456"), lambda draw: (number := card(draw))[:-1] + str((int(number[-1]) + draw.randint(1, 9)) % 10), shaped("7###############", "9###############")), ("number {x}", "编号{x}", "code {x}", "代码：{x}", "voucher {x}", "礼品卡 {x}", "{x}", "券号{x}", "gift card {x}")),
    Kind("company", False, shaped("DE#########", "91310000MA1FL#####", "GB#########", "FR##########9", "HRB 123456", "ATU########"), ("VAT {x}", "税号{x}", "VAT ID: {x}", "统一社会信用代码 {x}", "USt-IdNr. {x}", "信用代码：{x}", "company {x}", "register {x}", "Firma {x}")),
)  # fmt: skip
"""Where a value could be somebody's in one template and a thing's in another, the template tells."""
