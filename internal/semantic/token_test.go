package semantic

import (
	"fmt"
	"strings"
	"testing"
)

func TestQuestionIsTakenApartAsItReads(t *testing.T) {
	names := [...]string{
		content: "", article: "article", filler: "filler", stop: "stop", verb: "verb", person: "person", particle: "particle", asking: "asking", number: "number", date: "date", unit: "unit",
		quoted: "quoted", identifier: "identifier", negation: "negation", comparison: "comparison",
	}
	for _, c := range []struct{ text, want string }{
		{"Don't panic, it's FINE!", "do:verb not:negation panic :stop it:person is:verb fine :stop"},
		{"Does IT pay $5.50?", "do:verb IT pay $:unit 5.50:number :stop"},
		{"at 10:30 on 2024-05-01", "at:particle 10:30:date on:particle 2024-05-01:date"},
		{"-5°C, 16GB (3rd)", "-5:number celsius:unit :stop 16:number GB 3rd:number"},
		{"won't or cannot", "will:verb not:negation or:particle can:verb not:negation"},
		{"read-only", "read only:comparison"},
		{`say "Hi there", 'you' and „da“`, "say Hi there:quoted :stop you:quoted and:particle da:quoted"},
		{"the dogs' bone", "the:article dogs bone"},
		{"Who's at Anna's? They've gone", "who:asking is:verb at:particle anna 's:particle :stop they:person has:verb gone"},
		{"C++ main.go f(x) --all a_b", "C++:identifier main.go:identifier f(x:identifier --all:identifier a_b:identifier"},
		{"用main.go吗？", "用:particle main.go:identifier 吗:particle :stop"},
		{"请问三只猫不能吃什么?", "请问 3:number 只:comparison 猫 不:negation 能:verb 吃 什么:asking :stop"},
		{"誰會說給我們聽", "谁:asking 会:verb 說 给:particle 我们:person 聽"},
		{"１２３ ａ Ｂ, vitamin A here", "123:number a:article b :stop vitamin a here:particle"},
		{"hy\u200bphen", "hyphen"},
		{"、。…'\"", ":stop :stop"},
	} {
		var got []string
		tokens := tokenise(c.text)
		classify(tokens, loadLexicons().english)
		for _, token := range tokens {
			name := token.form
			if token.kind != content {
				name = fmt.Sprintf("%s:%s", token.form, names[token.kind])
			}
			got = append(got, name)
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%q:\n got %s\nwant %s", c.text, got, c.want)
		}
	}
}
