package semantic

// english lists the function words of English by class. A function word that is not
// listed is compared like any other word, so an omission costs a miss and not a false hit.
var english = vocabulary{
	classes: []class{
		{article, `the a an`},
		{filler, `please pls kindly really actually [indirect]`},
		{asking, `what=which how why when where who=whom whose whether how-to=how-to-you`},
		{negation, `not never no none nothing nobody=noone without nor neither unless except avoid non nowhere hardly`},
		{verb, `is=are=am was=were be been do=does did has=have had will would can could shall should may might must`},
		{person, `i=me my mine myself you your yours yourself he=him his himself she her hers herself it its itself
			we=us our ours ourselves they=them their theirs themselves someone=somebody anyone=anybody everyone=everybody`},
		{comparison, `more less fewer most least than greater larger=bigger smaller greatest largest=biggest smallest
			higher lower highest lowest longer shorter longest shortest better worse best worst
			faster slower fastest slowest cheaper cheapest older younger newer oldest youngest newest latest earliest
			before after until=till since from into between above over below under against up down out off
			maximum=max minimum exactly only all any some every=each both either left right same different
			equal=equals vs=versus many much few several enough too almost`},
		{particle, `of to for on at in by with within about as like near beside besides behind beyond across along through
			around past onto upon toward=towards via per despite during while because although=though if
			and or but so also even still already yet again instead
			this=these that=those here there being`},
		// German has these as function words, so they do not tell the languages apart.
		{content, `war man hat bin die des mal dem`},
		// These are content words, but they tell the language.
		{content, `tell explain show describe define means whats whos`},
	},
	elsewhere: `a i me no on as do of is he had for at all or us`,
	sets: map[string]string{
		"request": `tell explain show give write list name describe translate summarise summarize recommend suggest
			help draw plan create generate compare find rewrite correct compose draft provide classify convert define`,
		"rework": `translate explain summarise summarize describe rewrite correct convert compare classify`,
		"make":   `write list name draw plan create generate find compose draft suggest recommend`,
		// With these verbs "you" is the person addressed; in "how do you peel a mango" it is anybody.
		"state": `feel think look like love know work compare differ mean remember want live learn see handle help improve
			earn sleep store process collect protect decide charge respond answer`,
		// These possessives are dropped after how-to and how-to-you; see dropOwn.
		"own":      `my our`,
		"own-you":  `your`,
		"definite": `the this that these those such if to about`,
		"topic": `rules history meaning difference differences concept idea purpose role function definition term cause causes
			symptoms principle principles basics advantages disadvantages`,
		// What these verbs do is done to each thing by itself, and plurals of these nouns are
		// other words; see isOneOfMany.
		"each": `boil bake roast fry grill poach steam peel chop dice cook clean wash polish sharpen iron fold knit crochet sew
			grow plant prune repot train draw paint defrost thaw pickle toast ripen dry`,
		"plural-differs": `glass good arm custom letter spirit manner mean damage work cloth brain minute green short spectacle ground
			force content saving earning look time wood water air card dart bowl colour color paper hair iron people ash
			head right interest length cord`,
		"number": `pin isbn vin iban`,
		"aux":    `is are am was were do does did has have had will would can could shall should may might must`,
	},
	// "[indirect]" marks indirect questions; see moved. "a-little" is a word that the tokeniser
	// never makes, as are "how-to" and "how-to-you".
	rules: `
		whats -> what is
		whos -> who is
		capital city -> capital
		capital cities -> capitals
		=#number number -> =
		in order to -> to
		a lot of -> many
		a few -> several
		a little -> a-little
		lots of -> many
		have|has got to -> must
		have|has|need|needs to -> must
		why is it that -> why

		^ hello|hi|hey there? ->
		^ good morning|afternoon|evening|day , ->
		^ excuse me ->
		^ quick|one question , ->
		^ thanks|thank you|a? very|so|lot? much? in? advance? $ ->
		^ thanks|sorry ->
		thanks|thx $ ->

		^ can|could|would|will you|somebody|someone|anyone|anybody possibly? =#request -> =
		^ would|do you mind telling|explaining|showing -> tell
		^ may|can|could i ask you? ,? =<asking> -> [indirect] =
		^ i am|was wondering ,? =<asking> -> [indirect] =
		^ i am|was wondering ,? if -> [indirect] whether
		^ i wonder ,? =<asking> -> [indirect] =
		^ i wonder ,? if -> [indirect] whether
		^ do you happen? to? know ,? =<asking> -> [indirect] =
		^ do you happen? to? know ,? if -> [indirect] whether
		^ i would? like|want|must to? know ,? =<asking> -> [indirect] =
		^ i would? like|want|must to? know ,? if -> [indirect] whether
		^ let me know ,? =<asking> -> [indirect] =
		^ help me to? understand -> explain
		^ help me to? =#request -> =
		^ =#make me -> =
		^ =#rework =* for me $ -> = =
		^ =explain|describe =* to me|us $ -> = =

		^ tell|show|teach me|us ,? if -> [indirect] whether
		^ tell me|us , =#aux -> [indirect] whether =
		^ tell|show|teach me|us ,? =<asking> -> [indirect] =
		^ explain|describe to? me|us? ,? =<asking> -> [indirect] =
		^ =explain|describe to me|us -> =
		^ tell|teach me|us about -> explain
		^ tell|show|give me|us -> give
		^ give the|a|an? !<person> =<content> of -> what is = of
		^ give the|a|an? !<person> =<content> =<content> of -> what is = = of
		^ explain the? =#topic -> what is =
		^ explain|define !#definite a|an? =<content> -> what is =

		what exactly is|are -> what is
		^ what|which city is the? capital -> what is capital
		^ where is|are =* located|situated $ -> where is =
		in the? year =<number> -> in =
		meaning of the? word|term =<content> $ -> meaning of =
		^ what do|does the? word|term =<content> mean $ -> what is =
		^ what|which is|are the? meaning|definition of !#definite !<person> -> what is
		^ what is|are meant by !#definite !<person> -> what is
		^ what do|does !#definite !<person> =* mean|means $ -> what is =
		^ what do|does =* mean|means $ -> what is meaning of =
		^ what !#definite !<person> =* means|mean $ -> what is =
		^ what =* means|mean $ -> what is meaning of =

		how can|could|would i|one|we -> how-to
		how does one !#state -> how-to
		how do i|one|we !#state -> how-to
		how do|can|could|would you !#state -> how-to-you
		how i|one|we can|could? !#state -> how-to
		how you can|could? !#state -> how-to-you
		how to -> how-to
		how can -> how

		^ do|does =<person> must -> must =
		^ =#aux -> whether =`,
}
