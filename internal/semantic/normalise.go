package semantic

import (
	"slices"
	"strings"
)

// normalForm is a question without the tokens that carry no meaning: articles, politeness and
// ends of clauses. Equivalent ways of asking have the same normal form.
type normalForm struct {
	tokens []token
	does   int // position of the dropped "does"; 0 means none
	// indirect reports whether it was an indirect question, as in "tell me what entropy is".
	indirect bool
	defines  defined
	latin    *lexicon // of its words in Latin script, or nil
	// negations are the negations of the question, including those bound to a verb.
	negations []string
}

// normalised returns the normal form of tokens. latin is the lexicon for their words in Latin
// script, or nil. It changes the tokens.
func normalised(tokens []token, latin *lexicon) normalForm {
	l := loadLexicons()
	classify(tokens, latin)
	tokens = slices.DeleteFunc(tokens, func(t token) bool { return t.kind == filler })
	if latin != nil {
		tokens = latin.rewrite(possessives(tokens))
		dropOwn(tokens, latin)
		if latin == l.german {
			markEndings(tokens)
		}
	}
	if slices.ContainsFunc(tokens, func(t token) bool { return t.text == "" && t.word != "" }) {
		tokens = l.chinese.rewrite(tokens)
	}
	negations := forms(tokens, negation)
	q := dropDo(bindNegation(dropArticles(tokens)))
	q.negations, q.latin = negations, latin
	q.indirect = slices.ContainsFunc(tokens, func(t token) bool { return t.kind == filler })
	q.defines = definition(q.tokens)
	return q
}

// possessives rewrites "Norway's population" to "population of Norway".
func possessives(tokens []token) []token {
	named := func(t token) bool {
		return t.kind == content || t.kind == number || t.kind == identifier || t.kind == quoted
	}
	for at := 1; at < len(tokens); at++ {
		if tokens[at].form != possessive || tokens[at].kind != particle {
			continue
		}
		from, to := at, at+1
		for from > 0 && named(tokens[from-1]) {
			from--
		}
		for to < len(tokens) && named(tokens[to]) {
			to++
		}
		if from == at || to == at+1 {
			continue
		}
		of := token{kind: particle, form: "of", word: "of"}
		copy(tokens[from:to], slices.Concat(tokens[at+1:to], []token{of}, tokens[from:at]))
		at = to - 1
	}
	return tokens
}

// dropOwn turns the possessives that belong to the person of "how-to" into articles: "how do
// I clean my sofa" means any sofa. Those of other persons stay.
func dropOwn(tokens []token, l *lexicon) {
	var own map[string]bool
	for i, t := range tokens {
		switch {
		case t.word == "how-to":
			own = l.sets["own"]
		case t.word == "how-to-you":
			own = l.sets["own-you"]
		case t.kind == stop:
			own = nil
		case t.kind == person && own[t.word]:
			tokens[i].kind = article
		}
	}
}

// markEndings copies the endings of German articles to the tokens that follow them.
func markEndings(tokens []token) {
	ending := ""
	for i, t := range tokens {
		switch {
		case t.kind == article:
			ending = germanEnding(t.word)
		case t.kind == stop:
			ending = ""
		default:
			tokens[i].ending, ending = ending, ""
		}
	}
}

// germanEnding returns what an article shows of case, gender and number. It is empty for
// "ein", which goes with any ending because it can replace "der" and "das".
func germanEnding(word string) string {
	switch {
	case word == "das":
		return "a"
	case word == "ein" || word == "mein" || word == "dein" || word == "sein" || word == "unser":
		return ""
	}
	return word[len(word)-1:]
}

// dropArticles drops articles, ends of clauses and fillers, and marks what follows an article.
func dropArticles(tokens []token) (out []token) {
	afterArticle, indefinite := false, ""
	for _, t := range tokens {
		switch t.kind {
		case article:
			afterArticle, indefinite = true, indefiniteArticles[t.word]
		case stop, filler:
			afterArticle, indefinite = false, ""
		default:
			t.afterArticle, t.indefinite = afterArticle, indefinite
			afterArticle, indefinite = false, ""
			out = append(out, t)
		}
	}
	return out
}

var indefiniteArticles = map[string]string{"a": "a", "an": "a", "ein": "ein", "eine": "eine", "einen": "einen"}

// bindNegation joins an auxiliary and its negation, as in "can not" and 不能, into one token,
// so that 不能去 and 能不去 differ.
func bindNegation(tokens []token) []token {
	out := tokens[:0]
	for i, t := range tokens {
		if n := len(out); i > 0 && n > 0 {
			last := &out[n-1]
			if last.kind == verb && t.kind == negation && t.form == "not" {
				last.form += " not"
				continue
			}
			if last.kind == negation && last.form == "不" && t.kind == verb {
				last.kind, last.form = verb, "不"+t.form
				continue
			}
		}
		out = append(out, t)
	}
	return out
}

// dropDo drops the auxiliary "do", which direct questions have and indirect ones do not.
func dropDo(tokens []token) (q normalForm) {
	for _, t := range tokens {
		switch {
		case t.kind == verb && t.form == "do":
			if t.word == "does" && q.does == 0 {
				q.does = len(q.tokens)
			}
		default:
			q.tokens = append(q.tokens, t)
		}
	}
	return q
}

// forms returns the forms of the tokens of a kind, in their order.
func forms(tokens []token, k kind) (out []string) {
	for _, t := range tokens {
		if t.kind == k {
			out = append(out, t.form)
		}
	}
	return out
}

func (q normalForm) forms(k kind) []string {
	if k == negation {
		return q.negations
	}
	return forms(q.tokens, k)
}

// isEmpty reports whether a question has no content words, as in "what is this?": its meaning
// depends on the conversation.
func (q normalForm) isEmpty() bool {
	return !slices.ContainsFunc(q.tokens, func(t token) bool {
		switch t.kind {
		case asking, verb, person, particle:
			return false
		}
		return true
	})
}

// equivalent reports whether two questions have the same tokens in the same order, except for
// the verb, which direct and indirect questions put in different places.
func equivalent(a, b normalForm) bool {
	return sameTokens(a, b) || moved(a, b) || moved(b, a)
}

// moved reports whether two questions are the same except that the indirect one has its verb
// later, as in "how hot is the soup" and "tell me how hot the soup is". The article
// distinguishes them from "how is the hot soup".
func moved(direct, indirect normalForm) bool {
	if !indirect.indirect {
		return false
	}
	if direct.latin == loadLexicons().german && verbMovedToTheEnd(direct, indirect) {
		return true
	}
	isVerb := func(t token) bool { return t.kind == verb }
	from, to := slices.IndexFunc(direct.tokens, isVerb), slices.IndexFunc(indirect.tokens, isVerb)
	if from < 1 || to <= from || from+1 == len(direct.tokens) || direct.tokens[from].form != indirect.tokens[to].form {
		return false
	}
	otherSubject := direct.tokens[from+1].afterArticle && !indirect.tokens[from].afterArticle &&
		slices.ContainsFunc(indirect.tokens[from:to], func(t token) bool { return t.afterArticle })
	return !otherSubject && sameTokens(direct.without(from), indirect.without(to))
}

// verbMovedToTheEnd does what moved does for content verbs in German, where an indirect
// question ends with its verb: "was kostet Reis" and "sag mir, was Reis kostet".
func verbMovedToTheEnd(direct, indirect normalForm) bool {
	end := len(indirect.tokens) - 1
	for at := 1; at < min(end, 4); at++ {
		t, verb := direct.tokens[min(at, len(direct.tokens)-1)], indirect.tokens[end]
		noun := t.text != t.word || verb.text != verb.word
		if t.kind == content && !noun && t.form == verb.form && sameTokens(direct.without(at), indirect.without(end)) {
			return true
		}
	}
	return false
}

func (q normalForm) without(at int) normalForm {
	q.tokens = slices.Concat(q.tokens[:at], q.tokens[at+1:])
	return q
}

// sameTokens compares questions token by token. If one of them has "does", one verb of the
// other may have the ending instead: "how does it work" and "tell me how it works". One and
// many of a kind are the same where that is what they are about.
func sameTokens(a, b normalForm) bool {
	if len(a.tokens) != len(b.tokens) {
		return false
	}
	inflected := 0
	for i, x := range a.tokens {
		y := b.tokens[i]
		if x.kind == y.kind && x.form == y.form && (x.ending == y.ending || x.ending == "" || y.ending == "") {
			continue
		}
		if x.kind != content || y.kind != content {
			return false
		}
		if isOneOfMany(a, b, i) || isOneOfMany(b, a, i) {
			continue
		}
		if !inflects(a, b, i) && !inflects(b, a, i) {
			return false
		}
		inflected++
	}
	return inflected <= 1
}

// inflects reports whether the tokens at a position differ only by the ending that "does"
// has in the direct question and the verb in the indirect one.
func inflects(direct, indirect normalForm, at int) bool {
	return direct.does > 0 && indirect.indirect && indirect.does == 0 && at >= direct.does &&
		isThirdPerson(indirect.tokens[at].form, direct.tokens[at].form)
}

// isThirdPerson reports whether form is the third person singular of an English verb.
func isThirdPerson(form, plain string) bool {
	if stem, ok := strings.CutSuffix(plain, "y"); ok && form == stem+"ies" {
		return true
	}
	return form == plain+"s" || form == plain+"es"
}
