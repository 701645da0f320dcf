"""English function words: articles, pronouns, prepositions, conjunctions, auxiliaries, particles.

A closed class, written out; whatever is a word and not here carries content.
"""

_WORDS = """
a an the this that these those some any no every each either neither both all half such what
which who whom whose whoever whatever whichever
i me my mine myself you your yours yourself yourselves he him his himself she her hers herself
it its itself we us our ours ourselves they them their theirs themselves one ones oneself
someone somebody something anyone anybody anything everyone everybody everything nobody nothing
none other others another
about above across after against along among around as at before behind below beneath beside
besides between beyond by despite down during except for from in inside into like near of off
on onto out outside over past per since through throughout till to toward towards under until
up upon via with within without
and but or nor so yet if because although though unless while whereas whether than once when
whenever where wherever why how
am is are was were be been being do does did doing done have has had having can could may might
must shall should will would ought need
not also too very just only even still then there here now again ever never
thus hence therefore however moreover else instead rather quite
"""
FUNCTION_WORDS = frozenset(_WORDS.split())
CONTRACTIONS = frozenset(("n't", "'s", "'t", "'re", "'ve", "'ll", "'d", "'m"))
