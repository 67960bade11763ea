package semantic

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// functionWords are words of which any two in the place of "%" ask something else, and so
// does none of them unless the list begins with "-".
var functionWords = []struct{ template, words string }{
	{"letters % Anna", `to about for by from with without on in at into onto off over under above below near beside
		behind before after since until through across against between among during despite like as than per via of
		around past beyond beneath inside outside upon toward within except`},
	{"Which towns lie % the river?", `above across along around at behind below beneath beside between beyond by in inside near
		on opposite over under within off past`},
	{"% restart the server?", `do_I_have_to how_do_I why_do_I when_do_I where_do_I can_I could_I should_I may_I
		will_I did_I do_I how_did_I why_did_I what_do_I how_should_I when_should_I how_often_do_I how_often_should_I
		who_can whose_friends_can which_friends_can do_you did_you can_you should_we can_they can_he`},
	{"- Delete % files.", `my your his her its our their these those all some any no both several many few most only other
		without each`},
	{"Can % call Ben?", `I you he she it we they somebody nobody everybody`},
	{"% it rain in Oslo?", `does did will would can could should must might`},
	{"% the cats fed?", `are were have had will can`},
	{"- Is the soup % hot?", `not never still already too very only also always`},
	{"Call the doctor % it rains.", `if unless because although while when until before after since and but or as`},
	{"Eine Mail % Anna", `an für von mit ohne über unter neben bei zu aus nach vor gegen um durch hinter zwischen auf in
		seit bis während wegen trotz statt außer ab als wie`},
	{"% den Server neu starten?", `muss_ich kann_ich darf_ich soll_ich wie_kann_ich warum_muss_ich wann_muss_ich wo_kann_ich
		sollte_ich musste_ich konnte_ich will_ich wer_kann warum_kann_ich wann_kann_ich kannst_du muss_er können_wir
		wie_soll_ich wie_muss_ich`},
	{"- Lösche % Dateien.", `meine deine seine ihre unsere eure alle einige keine jene diese beide viele wenige nur`},
	{"% das Museum geöffnet?", `ist war wird wurde hat hatte`},
	{"Der Zug hält, % es schneit.", `wenn falls obwohl weil bevor nachdem während seit bis und aber oder`},
	{"% ein Gedicht!", `Schreib Übersetze Erkläre Lösch Lies Kannst_du Schreiben_wir Schreibe_ihm Schreib_uns_kein Schreiben_sie`},
	{"Kannst du % den Vertrag erklären?", `ihm ihr ihnen euch nicht auch`},
	{"% ich den Kuchen?", `Wie_backe Wann_backe Warum_backe Wie_esse Wie_lange_backe`},
	{"Wie schalte ich das Licht %?", `aus an ein um`},
	{"How do I boil %", `an_egg the_eggs an_egg_and_a_potato all_eggs these_eggs an_onion onions_and_eggs eggs_without_salt`},
	{"How do I % eggs?", `boil hatch merge count`},
	{"What % stars?", `are_the are_these are_all are_neutron is_the_age_of does_it_take_to_see are_not are_like`},
	{"How % to train a dog?", `do_I_get_somebody much_does_it_cost long_does_it_take hard_is_it`},
	{"%安娜写信", `给 被 对 向 从 往 在 为 替 关于 和 把 比 由 用 或 像`},
	{"%安娜寫信", `給 被 對 向 從 往 在 為 替 關於 和 把 比 由 用 或 像`},
	{"%重启服务器?", `我怎么 为什么 什么时候 我必须 我可以 我应该 我想 我不 谁 在哪里 你必须 他必须 我要 我会`},
	{"-他去%北京", `了 过 着 不`},
	{"-他%吃肉", `从不 从未 永不 不 没`},
	{"-他%吃肉", `從不 從未 永不`},
	{"-他%去北京", `要 会 能 没 不 想 应该 必须 曾经 已经 正在 也 都 只 还 又 才 别 从`},
	{"删除%文件", `我的 你的 他的 她的 它的 我们的 你们的 他们的 所有 这个 那个 这些 那些 有些 每个`},
	{"刪除%文件", `我的 你的 他的 她的 我們的 你們的 他們的 這個 那個 這些 那些 每個`},
	{"%下雨就不去", `如果 虽然 因为 除非 只要 即使`},
}

func TestFunctionWordsAreNotFree(t *testing.T) {
	for _, f := range functionWords {
		template, orNone := strings.CutPrefix(f.template, "-")
		words := strings.Fields(f.words)
		if orNone {
			words = append(words, "")
		}
		questions := make([]string, len(words))
		for i, w := range words {
			questions[i] = strings.Join(strings.Fields(strings.Replace(template, "%", strings.ReplaceAll(w, "_", " "), 1)), " ")
		}
		for i, a := range questions {
			for _, b := range questions[i+1:] {
				if Guard(a, b) == "" {
					t.Errorf("%q is answered like %q", a, b)
				}
			}
		}
	}
}

// sameQuestions are ways of asking one thing. Any two of a list share an answer.
var sameQuestions = [][]string{
	{
		"What is a hash table?", "what's a hash table", "Whats a hash table??", "Please, what is a hash table?", "Tell me what a hash table is.",
		"Can you tell me what a hash table is?", "Could you please explain what a hash table is?", "Explain what a hash table is",
		"I would like to know what a hash table is.", "I'd like to know what a hash table is, thanks!", "I want to know what a hash table is",
		"Do you know what a hash table is?", "What exactly is a hash table?", "Hello, what is a hash table?", "Hi! What is a hash table? Thank you very much.",
		"Excuse me, what is a hash table?", "Define hash table", "Explain a hash table to me.", "Tell me, what is a hash table?",
		"What is the definition of a hash table?", "What is meant by hash table?", "I wonder what a hash table is", "Would you kindly tell me what a hash table is?",
	},
	{
		"What is the capital of Norway?", "What is the capital city of Norway?", "What's Norway's capital?", "What's Norway’s capital city?",
		"Tell me the capital of Norway.", "Which city is the capital of Norway?", "Can you tell me what the capital city of Norway is?",
	},
	{
		"How do I peel a mango?", "How can I peel a mango?", "How to peel a mango", "How does one peel a mango?", "How do you peel a mango?",
		"Show me how to peel a mango.", "Could you tell me how to peel a mango?", "Please explain how I can peel a mango.", "How can I peel my mango?",
		"How would one peel the mango?", "I want to know how to peel a mango.",
	},
	{
		"Do I have to renew my visa?", "Must I renew my visa?", "Do I need to renew my visa?", "Tell me whether I have to renew my visa",
		"Do you know if I have to renew my visa?", "Can you please tell me if I must renew my visa?",
	},
	{"How hot is the soup?", "Tell me how hot the soup is.", "Do you know how hot the soup is?"},
	{"Why does it rain in Bergen?", "Can you tell me why it rains in Bergen?", "I'm wondering why it rains in Bergen"},
	{"Who was the mayor of Ulm?", "Could you tell me who was the mayor of Ulm?", "Please tell me who the mayor of Ulm was."},
	{
		"Write a toast for a wedding.", "Please write a toast for a wedding", "Could you write me a toast for the wedding?", "Write a toast for a wedding, please.",
		"Can you help me write a toast for a wedding?",
	},
	{"Where is the Atacama desert?", "Where is the Atacama desert located?", "Can you tell me where the Atacama desert is?", "Where's the Atacama desert?"},
	{
		"Was ist eine Hashtabelle?", "was ist eine hashtabelle", "Bitte sag mir, was eine Hashtabelle ist.", "Kannst du mir sagen, was eine Hashtabelle ist?",
		"Können Sie mir bitte erklären, was eine Hashtabelle ist?", "Weißt du, was eine Hashtabelle ist?", "Hallo, was ist eine Hashtabelle? Danke!",
		"Was ist eigentlich eine Hashtabelle?", "Was bedeutet Hashtabelle?", "Was heißt Hashtabelle?", "Was versteht man unter einer Hashtabelle?",
		"Ich möchte wissen, was eine Hashtabelle ist.", "Erkläre mir, was eine Hashtabelle ist.",
	},
	{
		"Wie kann ich Knoblauch schälen?", "Wie kann man Knoblauch schälen?", "Wie könnte ich Knoblauch schälen?", "Wie kann ich meinen Knoblauch schälen?",
		"Wie können wir den Knoblauch schälen?",
	},
	{
		"How do I poach an egg?", "How do I poach eggs?", "How to poach an egg", "Tell me how to poach eggs.", "How can you poach eggs?",
		"Could you explain how to poach an egg?", "How does one poach an egg?",
	},
	{"How long should I steam a carrot?", "How long should I steam carrots?"},
	{"How do I sharpen an old knife?", "How do I sharpen old knives?"},
	{"What is a glacier?", "What are glaciers?", "What's a glacier?", "Can you tell me what glaciers are?", "Tell me what a glacier is."},
	{"What is a neutron star?", "What are neutron stars?"},
	{"Was ist eine Primzahl?", "Was sind Primzahlen?", "Kannst du mir sagen, was eine Primzahl ist?"},
	{"Was ist ein Gletscher?", "Was sind Gletscher?"},
	{"Was ist ein Bach?", "Was sind Bäche?"},
	{"Wie koche ich ein Ei?", "Wie kocht man Eier?", "Wie kann ich ein Ei kochen?", "Sag mir, wie man Eier kocht.", "Weißt du, wie ich ein Ei kochen kann?"},
	{
		"Wie melde ich mein Auto ab?", "Wie meldet man sein Auto ab?", "Wie kann ich mein Auto abmelden?", "Sag mir, wie ich mein Auto abmelde.",
		"Weißt du, wie man das Auto abmeldet?",
	},
	{"Wie verbessere ich meine Noten?", "Wie verbessert man Noten?", "Wie kann man Noten verbessern?"},
	{
		"Analysiere diesen Vertrag.", "Analysier diesen Vertrag", "Bitte analysieren Sie diesen Vertrag.", "Kannst du diesen Vertrag analysieren?",
		"Können Sie mir bitte diesen Vertrag analysieren?", "Würdest du mir diesen Vertrag analysieren?", "Analysier mir bitte diesen Vertrag.",
	},
	{
		"Erläutere den Begriff Entropie.", "Erläutern Sie bitte den Begriff Entropie.", "Könntest du den Begriff Entropie erläutern?",
		"Erläutere mir den Begriff Entropie.",
	},
	{
		"Schlag drei Namen für ein Café vor.", "Schlage mir drei Namen für ein Café vor.", "Schlagen Sie drei Namen für ein Café vor.",
		"Kannst du mir 3 Namen für ein Café vorschlagen?",
	},
	{"Gib mir ein Beispiel für Ironie.", "Geben Sie mir ein Beispiel für Ironie.", "Kannst du mir ein Beispiel für Ironie geben?"},
	{"Wie tief ist der See?", "Sag mir bitte, wie tief der See ist.", "Weißt du, wie tief der See ist?"},
	{"Wie heißt die Hauptstadt von Kanada?", "Was ist die Hauptstadt von Kanada?", "Kannst du mir sagen, was die Hauptstadt von Kanada ist?"},
	{
		"什么是 Docker 容器？", "Docker 容器是什么意思？", "Docker 容器是什么？", "Docker容器是什么", "请问什么是Docker容器", "请问 Docker 容器是什么意思呢？", "你知道什么是Docker容器吗？",
		"请告诉我什么是 Docker 容器。", "请解释一下什么是 Docker 容器", "您好，什么是 Docker 容器？谢谢", "我想知道什么是Docker容器", "Docker 容器的意思是什么？",
		"Docker 容器的定义是什么？", "什么叫 Docker 容器？", "Docker容器指的是什么？", "何谓Docker容器？", "Docker 容器是啥？", "Docker 容器是什么东西？",
	},
	{"什麼是通貨膨脹？", "通貨膨脹是什麼意思？", "通貨膨脹是什麼？", "請問什麼是通貨膨脹？", "請告訴我什麼是通貨膨脹。", "你知道什麼是通貨膨脹嗎？", "請解釋一下通貨膨脹是什麼意思"},
	{"企鹅会飞吗？", "企鹅会不会飞？", "请问企鹅会飞吗？"},
	{"怎么煮咖啡？", "如何煮咖啡", "请问怎样煮咖啡呢？", "我怎么煮咖啡？", "请告诉我怎么煮咖啡", "怎么才能煮咖啡？"},
	{"写一首关于雨的诗", "请写一首关于雨的诗。", "帮我写一首关于雨的诗", "你能帮我写一首关于雨的诗吗？", "能不能写一首关于雨的诗？", "请帮我写一首关于雨的诗，谢谢！"},
	{"挪威的首都是哪里？", "挪威的首都是哪个城市？", "请问挪威的首都是哪里？", "你知道挪威的首都是哪里吗？", "挪威首都是哪？"},
}

// One and many are the same only where a question is about the kind.
func TestOneIsNotMany(t *testing.T) {
	for _, pair := range [][2]string{
		{"Delete a file.", "Delete files."},
		{"Boil an egg.", "Boil eggs."},
		{"How do I delete a file?", "How do I delete files?"},
		{"How do I compare a text with a picture?", "How do I compare texts with a picture?"},
		{"How much does it cost to train a dog?", "How much does it cost to train dogs?"},
		{"How do I boil an egg?", "How do I boil the eggs?"},
		{"How do I clean a window?", "How do I clean Windows?"},
		{"How do I clean a glass?", "How do I clean glasses?"},
		{"Where is a hotel?", "Where are hotels?"},
		{"What is a star?", "What are the stars?"},
		{"What is the star?", "What are stars?"},
		{"What is a cloth?", "What are clothes?"},
		{"What is a star like?", "What are stars like?"},
		{"Who is a friend?", "Who are friends?"},
		{"Was ist ein Rat?", "Was sind Raten?"},
		{"Was ist eine Bank?", "Was sind Bänke?"},
		{"Was ist der Stern?", "Was sind Sterne?"},
		{"Lösche eine Datei.", "Lösche Dateien."},
		{"Wie lösche ich eine Datei?", "Wie lösche ich Dateien?"},
		{"Wie koche ich ein Ei?", "Wie koche ich die Eier?"},
		{"Wie wohne ich in Rom?", "Wie wohnt man in Rom?"},
	} {
		if Guard(pair[0], pair[1]) == "" || Guard(pair[1], pair[0]) == "" {
			t.Errorf("%q and %q share an answer", pair[0], pair[1])
		}
	}
}

func TestWaysOfAskingTheSameShareAnAnswer(t *testing.T) {
	for _, questions := range sameQuestions {
		for i, a := range questions {
			for _, b := range questions[i+1:] {
				if reason := Guard(a, b); reason != "" {
					t.Errorf("%q is not answered like %q: %s", a, b, reason)
				}
			}
		}
	}
}

// Random function words reach more of the rules than random bytes do.
func TestGuardIsSymmetricAndIgnoresSpace(t *testing.T) {
	l := loadLexicons()
	words := []string{"Anna", "cat", "Katze", "猫", "3", "main.go", `"q"`, "'s", "n't", "?", ",", "。", "，"}
	for _, lexicon := range []*lexicon{l.shared, l.english, l.german, l.chinese} {
		words = append(words, slices.Sorted(maps.Keys(lexicon.known))...)
		for _, r := range lexicon.rules {
			for _, it := range r.pattern {
				words = append(words, it.words...)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) string {
			return strings.Join(rapid.SliceOfN(rapid.SampledFrom(words), 1, 12).Draw(t, name), rapid.SampledFrom([]string{" ", ""}).Draw(t, "between"))
		}
		a, b := text("a"), text("b")
		if ab, ba := Guard(a, b), Guard(b, a); (ab == "") != (ba == "") {
			t.Errorf("%q, %q: got %q one way and %q the other", a, b, ab, ba)
		}
		spaced := " " + strings.ReplaceAll(a, " ", "  ")
		x, y := tokenise(a), tokenise(spaced)
		lang := language(x, y)
		p, q := normalised(x, lang), normalised(y, lang)
		if !equivalent(p, q) {
			t.Errorf("%q does not say the same with more space", a)
		}
	})
}
