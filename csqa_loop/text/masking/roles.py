"""Addresses that belong to a desk and not to a person."""

import re

_LISTS = """
    support service services help info infos information informations return returns refund refunds care contact contactus contacts
    sales order orders hello noreply reply no not donotreply do dpo dpr privacy complaint complaints warranty billing legal copyright
    dmca press media pr job jobs career careers hr recruiting recruitment admin administrator webmaster postmaster hostmaster abuse
    security office team mail email feedback newsletter marketing account accounts accounting invoice invoices payment payments shop
    store online customer customers customerservice customersupport customercare client clients enquiry enquiries inquiry inquiries
    reception booking bookings reservations helpdesk servicedesk desk technical tech compliance gdpr ccpa dataprotection data protection
    officer unsubscribe notification notifications alert alerts news partner partners partnership partnerships wholesale b2b shipping
    delivery dispatch logistics repair repairs spares parts trade affiliate affiliates investor investors ir esg ethics whistleblower
    claims safety recall recalls quality finance purchasing procurement supplier suppliers events membership members subscriptions
    donations community ombudsman trademark ip research editor editorial membersupport cs crm web site website general main head
    corporate company business enterprise accessibility welcome ask go the us uk eu de fr cn hk tw at ch it es nl be int intl global

    kontakt kunden kundenservice kundendienst kundenbetreuung kundencenter bestellung bestellungen retoure retouren ruecksendung
    rücksendung ruecksendungen rücksendungen reklamation reklamationen rechnung rechnungen buchhaltung datenschutz
    datenschutzbeauftragter datenschutzbeauftragte impressum presse bewerbung bewerbungen karriere vertrieb verkauf hilfe beratung
    versand garantie widerruf gewaehrleistung gewährleistung beschwerde beschwerden rueckgabe rückgabe zentrale post technik werkstatt
    ersatzteile einkauf personal haendler händler geschaeftsfuehrung geschäftsführung anfrage anfragen mahnung lieferung

    sav serviceclient serviceclients clientele clientèle commande commandes retour retours remboursement remboursements aide reclamation
    réclamation reclamations réclamations facturation facture factures comptabilite comptabilité juridique rgpd cnil confidentialite
    confidentialité vieprivee recrutement boutique assistance livraison livraisons garanties conseil conseils accueil apresvente apres
    après vente ventes relation relations donnees données personnelles delegue délégué protectiondesdonnees

    contacto contactos ayuda soporte atencion atención atencioncliente cliente clientes ventas pedido pedidos devolucion devoluciones
    facturacion privacidad reclamaciones tienda prensa empleo assistenza contatti contatto ordini ordine resi reso vendite fatturazione
    reclami servizio servizioclienti clienti negozio stampa amministrazione ajuda suporte contato vendas privacidade encomendas
    devolucoes klantenservice klanten bestellingen retouren verkoop privacybeleid klachten garantie

    git mailer daemon kefu shouhou shouqian fuwu tousu yinsi fapiao xiaoshou shangwu hezuo zhaopin wuliu tuihuo caiwu hr
"""
"""English, German, French; Spanish, Italian, Portuguese and Dutch; Chinese in Latin letters."""
_WORDS = frozenset(_LISTS.split())
_IDEOGRAPHS = re.compile(
    r"(?:客服|售后|售後|售前|服务|服務|投诉|投訴|隐私|隱私|销售|銷售|商务|商務|合作|招聘|发票|發票|退货|退貨|财务|財務|支持|中心|法务|法務|联系|聯絡|媒体|媒體)+\Z"
)
_PARTS = re.compile(r"[._+\-]|\d{1,2}\Z")


def is_role(local: str) -> bool:
    """Whether the part before the at sign names desks and nothing else: `info`, `returns-uk`, `kundenservice`, `客服`."""
    parts = [part for part in _PARTS.split(local.casefold()) if part]
    return bool(parts) and all(part in _WORDS or _IDEOGRAPHS.match(part) for part in parts)
