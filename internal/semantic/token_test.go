package semantic

import (
	"fmt"
	"strings"
	"testing"
)

func TestQuestionIsTakenApartAsItReads(t *testing.T) {
	names := [...]string{
		content: "", function: "function", asking: "asking", number: "number", date: "date", unit: "unit",
		quoted: "quoted", identifier: "identifier", negation: "negation", comparison: "comparison",
	}
	for _, c := range []struct{ text, want string }{
		{"Don't panic, it's FINE!", "do:function not:negation panic it:function fine"},
		{"Does IT pay $5.50?", "does:function IT pay $:unit 5.50:number"},
		{"at 10:30 on 2024-05-01", "at:function 10:30:date on:function 2024-05-01:date"},
		{"-5°C, 16GB (3rd)", "-5:number celsius:unit 16:number GB 3rd:number"},
		{"won't or cannot", "will not:negation or not:negation"},
		{"read-only", "read only:comparison"},
		{`say "Hi there", 'you' and „da“`, "say Hi there:quoted you:quoted and:function da:quoted"},
		{"the dogs' bone", "the:function dogs bone"},
		{"C++ main.go f(x) --all a_b", "C++:identifier main.go:identifier f(x:identifier --all:identifier a_b:identifier"},
		{"用main.go吗？", "用 main.go:identifier 吗:function"},
		{"请问三只猫不能吃什么?", "请问:function 3:number only:comparison 猫 not:negation 能:function 吃 什么:function"},
		{"１２３ Ａ", "123:number a:function"},
		{"hy\u200bphen", "hyphen"},
		{"、。…'\"", ""},
	} {
		var got []string
		for _, token := range tokenise(c.text) {
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
