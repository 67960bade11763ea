package semantic

import (
	"fmt"
	"slices"
	"strings"
)

// german lists the function words of German by class, as english does. The endings of
// articles and possessives are compared separately, because they show the case.
var german = vocabulary{
	classes: []class{
		{article, `der das den dem die ein eine einen einem einer eines des`},
		{filler, `bitte mal doch eigentlich denn [indirect]`},
		{asking, `was welche welcher welches welchen welchem wie wieviel warum=weshalb=wieso wann wo woher wohin wer wen wem wessen ob
			wozu womit how-to=how-to-you`},
		{negation, `nicht nie=niemals kein keine keinen keinem keiner keines nichts niemand ohne weder außer vermeiden`},
		{verb, `ist=sind=bin=bist=seid war=waren=warst wird=werden=werde=wirst wurde=wurden würde=würden=würdest worden gewesen
			hat=haben=habe=hast hatte=hatten kann=können=kannst konnte=konnten könnte=könnten=könntest
			muss=müssen=musst=muß musste=mussten soll=sollen=sollst sollte=sollten=solltest darf=dürfen=darfst durfte dürfte
			will=wollen=willst wollte=wollten mag=mögen möchte=möchten`},
		{person, `ich mich mir mein meine meinen meinem meiner meines du dich dir dein deine deinen deinem deiner deines
			er ihn ihm sein seine seinen seinem seiner seines sie ihr ihnen ihre ihren ihrem ihrer ihres es
			wir uns unser unsere unseren unserem unserer unseres euch euer eure euren eurem eurer man sich jemand`},
		{comparison, `mehr weniger meisten wenigsten größer kleiner größte=größten=größter=größtes kleinste=kleinsten=kleinster=kleinstes
			höher niedriger tiefer höchste=höchsten=höchster niedrigste=niedrigsten tiefste=tiefsten länger kürzer
			längste=längsten kürzeste=kürzesten besser schlechter beste=besten=bester schlechteste=schlechtesten
			schneller langsamer schnellste langsamste billiger=günstiger teurer älter jünger neuer
			älteste jüngste neueste vor vorher nach nachher bis seit von aus zwischen über oberhalb unter unterhalb
			gegen hinauf hinunter maximal minimal genau nur alle allen aller einige einigen jede jeder jedes jeden beide beiden
			links rechts gleich=gleiche verschieden gegenüber manche manchen viele vielen wenige wenigen genug`},
		{particle, `an in am im zu zum zur für auf bei beim als dass mit um durch neben hinter während wegen trotz statt ab
			und oder aber wenn falls obwohl weil bevor nachdem damit sondern auch noch schon wieder
			dies dieser diese dieses diesen diesem jene jener jenes hier dort so also`},
		// These are content words, but they tell the language.
		{content, `heißt heisst bedeutet versteht weißt weisst sag lautet liegt befindet`},
		{content, germanMake},
	},
	elsewhere: `plan plane find such list des du es an um am mal bis er so der den die als hier`,
	sets: map[string]string{
		"ask":      `sag sage sagen sagt erkläre erklär erklären zeig zeige zeigen verrate verraten`,
		"give":     `gib gebt geben sag sage sagen zeig zeige zeigen`,
		"make":     germanMake,
		"can":      `kann können könnte könnten`,
		"own":      `mein meine meinen meinem meiner meines unser unsere unseren unserem unserer sein seine seinen seinem seiner`,
		"own-you":  `dein deine deinen deinem deiner deines`,
		"definite": `der das die den dem des dieser diese dieses`,
		"aux": `ist sind bin bist war waren wird werden wurde wurden hat haben hatte hatten kann können kannst konnte könnte
			muss müssen musste soll sollen sollte darf dürfen durfte will wollen möchte`,
		"kann": `kannst könntest würdest können könnten würden könnt`,
		// Behind "wie" these are no verbs of a how-to question: "wie wohne ich" is about the speaker, but
		// "wie koche ich Reis" about anybody.
		"other-how": `lange oft weit hoch tief groß alt gut schnell spät viel teuer schwer früh laut heiße heißt heißen sehe sieht sehen fühle fühlt fühlen lebe lebt leben arbeite arbeitet arbeiten denke denkt denken
			wohne wohnt wohnen schlafe schläft schlafen wirke wirkt wirken klinge klingt klingen rieche riecht riechen verdiene
			verdient verdienen stehe steht stehen liege liegt liegen bleibe bleibt bleiben`,
		"prefix": `aus an auf ab ein zu um vor her hin los mit nach weg zurück zusammen`,
		"each": `kochen backen braten schälen grillen dünsten pochieren schneiden hacken würfeln waschen putzen polieren schärfen
			pflanzen gießen beschneiden trainieren zeichnen malen falten stricken häkeln auftauen trocknen einlegen rösten`,
		"plural-differs": `bank band wort mutter rat bund ton strauß gesicht`,
	},
	rules: `
		^ hallo|entschuldigung|hi ->
		^ guten tag|morgen|abend , ->
		^ danke|dankeschön im? voraus? $ ->
		danke $ ->
		^ vielen|besten dank im? voraus? $ ->

		zum -> zu dem
		zur -> zu der
		im -> in dem
		ins -> in das
		am -> an dem
		ans -> an das
		beim -> bei dem
		vom -> von dem
		fürs -> für das
		aufs -> auf das


		^ #kann du|sie|Sie|ihr mir|uns? #ask ,? =<asking> -> [indirect] =
		^ #ask sie|Sie? mir|uns? ,? =<asking> -> [indirect] =
		^ weißt|weisst|wissen|wisst du|sie|Sie|ihr ,? =<asking> -> [indirect] =
		^ ich möchte|würde|will|wüsste gern|gerne? wissen? ,? =<asking> -> [indirect] =
		^ #give Sie? mir|uns -> gib
		^ #kann du|sie|Sie|ihr mir|uns =* geben|zeigen $ -> gib =

		^ wie heißt|heisst|lautet die hauptstadt -> was ist die hauptstadt
		^ wo befindet sich -> wo ist
		^ wo liegt|liegen -> wo ist
		^ was heißt|heisst|bedeutet !#definite !<person> -> was ist
		^ was versteht man unter !#definite !<person> einer|einem? -> was ist

		` + germanRequests + `
		^ =#make mir|uns -> =

		wie #can ich|man|wir -> how-to
		wie #can du -> how-to-you
		wie !#other-how =<content> ich|man|wir =* =#prefix $ -> how-to =2 =31en
		wie !#other-how =<content> ich|man|wir =* $ -> how-to =2 =1en
		wie ich|man|wir =* #can $ -> how-to =
		wie ich|man|wir =* !#other-how =<content> $ -> how-to =1 =2en
		wie ich|man|wir -> how-to
		wie =<content> ich|man|wir -> how-to =

		^ =#aux -> ob =`,
}

// germanVerbs are verbs by which a model is told what to do: the stem of the imperative, with
// the infinitive after a colon if it has another stem, and a separable prefix before a plus sign.
const germanVerbs = `erklär beschreib schreib nenn zeig übersetz erstell vergleich plan empfiehl:empfehlen erläuter:erläutern
	verbesser:verbessern formulier korrigier klassifizier generier analysier definier skizzier optimier konvertier sortier
	bewert berechn zeichn entwirf:entwerfen entwickl:entwickeln überarbeit überprüf prüf such find lös erfind ergänz
	kürz übertrag kommentier implementier programmier buchstabier erzähl
	zusammen+fass auf+list vor+schlag um+schreib auf+zähl aus+rechn um+wandl:umwandeln um+rechn weiter+schreib`

// germanRequests are the rules by which all ways to say one of germanVerbs to somebody become
// the imperative: "schreiben Sie", "kannst du … schreiben", "schreibe" and "schreib". Only a
// capital tells "schreiben Sie" from "schreiben sie", which is a question about others.
var germanRequests, germanMake = requests(germanVerbs)

func requests(verbs string) (rules, imperatives string) {
	var b strings.Builder
	for verb := range strings.FieldsSeq(verbs) {
		stem, infinitive, irregular := strings.Cut(verb, ":")
		prefix, stem, separable := strings.Cut(stem, "+")
		if !separable {
			prefix, stem = "", prefix
		}
		if !irregular {
			infinitive = prefix + stem + "en"
		}
		plural := strings.TrimPrefix(infinitive, prefix)
		if separable {
			fmt.Fprintf(&b, "^ %s Sie =* %s $ -> %s = %s\n", plural, prefix, stem, prefix)
			fmt.Fprintf(&b, "^ %se =* %s $ -> %s = %s\n", stem, prefix, stem, prefix)
		} else {
			fmt.Fprintf(&b, "^ %s Sie -> %s\n", infinitive, stem)
			fmt.Fprintf(&b, "^ %se -> %s\n", stem, stem)
		}
		fmt.Fprintf(&b, "^ #kann du|Sie|ihr mir|uns? =* %s $ -> %s = %s\n", infinitive, stem, prefix)
		if !slices.Contains(strings.Fields(imperatives), stem) {
			imperatives += " " + stem + " " + stem + "e"
		}
	}
	return b.String(), imperatives
}
