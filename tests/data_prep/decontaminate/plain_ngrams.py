"""The n-grams of a text by a plain loop, for comparison."""

import unicodedata

from data_prep.dedup.shingles import normalised


def plain_tokens(text):
    """Words and single characters, as (text, weight)."""
    tokens, word = [], ""
    for character in [*normalised(text), " "]:
        name = unicodedata.name(character, "")
        alone = name.startswith(("CJK UNIFIED", "CJK COMPAT", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC ITER")) and (
            unicodedata.category(character)[0] in "LNM"
        )
        if unicodedata.category(character)[0] in "LNM" and not alone:
            word += character
            continue
        tokens += [(word, 20)] if word else []
        tokens += [(character, 13)] if alone else []
        word = ""
    return tokens


def plain_ngrams(text, least=260):
    """Each n-gram of at least this weight, as the tuple of its tokens."""
    tokens = plain_tokens(text)
    found = []
    for start in range(len(tokens)):
        weight, end = 0, start
        while weight < least and end < len(tokens):
            weight += tokens[end][1]
            end += 1
        if weight >= least:
            found.append(tuple(token for token, _ in tokens[start:end]))
    return found
