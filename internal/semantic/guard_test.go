package semantic_test

import (
	"slices"
	"strings"
	"testing"

	"ollama-mcp/internal/semantic"
)

func TestGuardNamesWhatDiffers(t *testing.T) {
	for _, c := range []struct {
		asked, matched string
		want           semantic.Reason
	}{
		{"How do I reset my router?", "Please tell me how I reset the router", ""},
		{"Wie kann ich die Heizung entlüften?", "Wie kann man eine Heizung entlüften?", ""},
		{"怎么安装打印机?", "请问如何安装打印机?", ""},
		{"I'm on Debian, what's an inode?", "I am on debian: what is an inode", ""},
		{"Name 3 rivers in Peru", "Name three rivers in Peru", ""},
		{"Is 5km far?", "Is 5 kilometers far?", ""},
		{"How does a pump work in winter?", "Can you explain how a pump works in winter?", ""},
		{"Why does milk dry up so fast?", "Please tell me why milk dries up so fast.", ""},
		{"Where does the train to Oslo pass?", "Do you know where the train to Oslo passes?", ""},

		{"How does the bridge open?", "Tell me the bridge opens", semantic.Words},
		{"Does the bridge open?", "Tell me how the bridge opens", semantic.Words},
		{"What does a cookie store?", "Tell me what cookie stores are", semantic.Words},
		{"What does the engine power?", "Tell me what powers the engine", semantic.Words},
		{"What does the cat eat?", "Tell me what the cats eats", semantic.Words},
		{"What does the dog eat?", "Tell me what the cat eats", semantic.Words},
		{"What does the cat eat?", "Tell our vet what the cat eats", semantic.Words},
		{"Name 3 rivers in Peru", "Name 4 rivers in Peru", semantic.Numbers},
		{"Nenne drei Flüsse in Peru", "Nenne vier Flüsse in Peru", semantic.Numbers},
		{"说出三条河流的名字", "说出四条河流的名字", semantic.Numbers},
		{"Is 1.5 a lot?", "Is 15 a lot?", semantic.Numbers},
		{"Water at -5 °C", "Water at 5 °C", semantic.Numbers},
		{"Divide 4 by 2", "Divide 2 by 4", semantic.Numbers},
		{"Is it open on Monday?", "Is it open on Sunday?", semantic.Dates},
		{"News of 2024-05-01", "News of 2024-05-02", semantic.Dates},
		{"Wie ist das Wetter heute?", "Wie ist das Wetter morgen?", semantic.Dates},
		{"Is 5 kg heavy?", "Is 5 lb heavy?", semantic.Units},
		{"What is 10 MB?", "What is 10 Mb?", semantic.Units},
		{"Is $5 much?", "Is €5 much?", semantic.Units},
		{`Spell "their" for me`, `Spell "there" for me`, semantic.Quotes},
		{"Was heißt „Heimat“ auf Englisch?", "Was heißt „Heim“ auf Englisch?", semantic.Quotes},
		{"谁写了《红楼梦》?", "谁写了《水浒传》?", semantic.Quotes},
		{"What does main.go do?", "What does main.rs do?", semantic.Identifiers},
		{"Read https://example.org/a", "Read https://example.org/b", semantic.Identifiers},
		{"Mail to a@example.org", "Mail to b@example.org", semantic.Identifiers},
		{"What does user_id hold?", "What does userId hold?", semantic.Identifiers},
		{"What does rm -r do?", "What does rm -f do?", semantic.Identifiers},
		{"Which foods are good?", "Which foods are not good?", semantic.Negation},
		{"Why do cats swim?", "Why don’t cats swim?", semantic.Negation},
		{"Brot mit Hefe", "Brot ohne Hefe", semantic.Negation},
		{"哪些蘑菇能吃?", "哪些蘑菇不能吃?", semantic.Negation},
		{"What is the largest lake?", "What is the smallest lake?", semantic.Comparison},
		{"Trains from Oslo", "Trains to Oslo", semantic.Comparison},
		{"Was esse ich vor dem Sport?", "Was esse ich nach dem Sport?", semantic.Comparison},
		{"最大的湖是什么?", "最小的湖是什么?", semantic.Comparison},
		{"When was she born?", "Where was she born?", semantic.Asking},
		{"How does a pump work in winter?", "Comment fonctionne une pompe en hiver ?", semantic.Language},
		{"How is the weather in the Alps?", "Wie ist das Wetter in den Alpen?", semantic.Language},
		{"Why is the sky blue?", "Почему небо голубое?", semantic.Language},
		{"Is hepatitis A dangerous?", "Is hepatitis dangerous?", semantic.Words},
		{"What is vitamin a?", "What is a vitamin?", semantic.Words},
		{"Welcher Hund beißt Anna?", "Welchen Hund beißt Anna?", semantic.Asking},
		{"Beißt mein Hund dein Pferd?", "Beißt meinen Hund dein Pferd?", semantic.Persons},
		{"Llama a Ana", "Llama Ana", semantic.Words},
		{"Le voisin du chat", "Le voisin chat", semantic.Words},
		{"Is Venus hotter or Mars?", "Is Mars hotter or Venus?", semantic.Order},
		{"Can you call me?", "Can I call you?", semantic.Order},
		{"狗咬了人", "人咬了狗", semantic.Order},
		{"What is the capital of Austria?", "What is the capital of Hungary?", semantic.Words},
		{"What does US law say?", "What does law tell us?", semantic.Words},
		{"猫喜欢喝水", "狗喜欢喝水", semantic.Words},
		{"Can you show me this?", "Tell me about that", semantic.Words},
		{"What is entropy?", strings.Repeat("word ", 500), semantic.Length},
		{"Why do zebras migrate south?", "Why do animals living beside wide rivers cross dry plains?", semantic.Length},
	} {
		if got := semantic.Guard(c.asked, c.matched); got != c.want {
			t.Errorf("%q, %q: got %q, want %q", c.asked, c.matched, got, c.want)
		}
		if got := semantic.Guard(c.matched, c.asked); got != c.want {
			t.Errorf("%q, %q: got %q, want %q", c.matched, c.asked, got, c.want)
		}
	}
}

func TestGuardRefusesAnyWordReplacedLeftOutOrMoved(t *testing.T) {
	words := strings.Fields("Summarise the report about clean water in northern villages " +
		"and list every village where wells need repair before winter with 3 contacts each")
	for i, word := range words {
		if word == "the" {
			continue
		}
		replaced := slices.Concat(words[:i], []string{"giraffe"}, words[i+1:])
		leftOut := slices.Concat(words[:i], words[i+1:])
		moved := slices.Concat(words[i+1:], []string{word}, words[:i])
		for _, changed := range [][]string{replaced, leftOut, moved} {
			if semantic.Guard(strings.Join(words, " "), strings.Join(changed, " ")) == "" {
				t.Errorf("%q passes", strings.Join(changed, " "))
			}
		}
	}
}

func FuzzGuardIsSymmetricAndPassesTheSame(f *testing.F) {
	f.Add("How do I reset 3 routers?", "Please reset “the” routers, don't")
	f.Add("谁写了《红楼梦》?", "'tis -5°C at a@example.org: `x")
	f.Add("«»“„ '' \xff 、。", "１２３ ＡＢＣ")
	f.Add("Can you tell me what Anna's dog's name is? have to have to", "what does what does mean mean")
	f.Add("Weißt du, wie ich im Park kann man ich", "was heißt was bedeutet der die den")
	f.Add("请问你能不能告诉我什么是什么意思吗呢的", "帮我帮我是不是有没有，是什么？没有")
	f.Fuzz(func(t *testing.T, a, b string) {
		if got := semantic.Guard(a, a); got != "" {
			t.Errorf("%q and itself: got %q", a, got)
		}
		if ab, ba := semantic.Guard(a, b), semantic.Guard(b, a); (ab == "") != (ba == "") {
			t.Errorf("%q, %q: got %q one way and %q the other", a, b, ab, ba)
		}
	})
}
