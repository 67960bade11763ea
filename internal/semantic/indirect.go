package semantic

import (
	"slices"
	"strings"
)

// indirect says that told asks indirectly what asked asks with "does": "how does it
// work" is "tell me how it works". That is the same words in the same order, with the
// ending on the verb, behind an introduction that says nothing.
func indirect(asked, told []token) bool {
	does := slices.IndexFunc(asked, func(t token) bool { return t.kind == function && t.form == "does" })
	if does < 1 { // "does it work" asks something else than "how it works"
		return false
	}
	direct := slices.Concat(asked[:does], asked[does+1:])
	introduction := len(told) - len(direct)
	if introduction < 0 || slices.ContainsFunc(told[:introduction], func(t token) bool { return t.kind != function }) {
		return false
	}
	verbs := 0
	for i, t := range told[introduction:] {
		if t.form == direct[i].form {
			continue
		}
		if i < does || !isThirdPerson(t.form, direct[i].form) {
			return false
		}
		verbs++
	}
	return verbs == 1
}

// isThirdPerson says whether "he" stands before one form of an English verb where "they"
// stands before the other.
func isThirdPerson(form, plain string) bool {
	if stem, ok := strings.CutSuffix(plain, "y"); ok && form == stem+"ies" {
		return true
	}
	return form == plain+"s" || form == plain+"es"
}
