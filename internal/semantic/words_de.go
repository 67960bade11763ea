package semantic

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
		{content, `heißt heisst bedeutet versteht weißt weisst erkläre erklär sag zeig schreib schreibe nenne lautet liegt befindet`},
	},
	elsewhere: `des du es an um am mal bis er so der den die als hier`,
	sets: map[string]string{
		"ask":      `sag sage sagen sagt erkläre erklär erklären zeig zeige zeigen verrate verraten`,
		"give":     `gib gebt sag sage zeig zeige`,
		"make":     `nenne nenn schreib schreibe erkläre erklär erstelle plane empfiehl`,
		"can":      `kann können könnte könnten`,
		"own":      `mein meine meinen meinem meiner meines unser unsere unseren unserem unserer sein seine seinen seinem seiner`,
		"own-you":  `dein deine deinen deinem deiner deines`,
		"definite": `der das die den dem des dieser diese dieses`,
		"aux": `ist sind bin bist war waren wird werden wurde wurden hat haben hatte hatten kann können kannst konnte könnte
			muss müssen musste soll sollen sollte darf dürfen durfte will wollen möchte`,
		"kann": `kannst könntest würdest können könnten würden könnt`,
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


		^ #kann du|sie|ihr mir|uns? #ask ,? =<asking> -> [indirect] =
		^ #ask sie? mir|uns? ,? =<asking> -> [indirect] =
		^ weißt|weisst|wissen|wisst du|sie|ihr ,? =<asking> -> [indirect] =
		^ ich möchte|würde|will|wüsste gern|gerne? wissen? ,? =<asking> -> [indirect] =
		^ #give sie? mir|uns -> gib
		^ =#make sie? mir|uns -> =

		^ wie heißt|heisst|lautet die hauptstadt -> was ist die hauptstadt
		^ wo befindet sich -> wo ist
		^ wo liegt|liegen -> wo ist
		^ was heißt|heisst|bedeutet !#definite !<person> -> was ist
		^ was versteht man unter !#definite !<person> einer|einem? -> was ist

		wie #can ich|man|wir -> how-to
		wie #can du -> how-to-you
		wie ich|man|wir -> how-to
		wie =<content> ich|man|wir -> how-to =

		^ =#aux -> ob =`,
}
