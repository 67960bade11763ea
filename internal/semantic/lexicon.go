package semantic

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// kind is the class of a token. Each class is compared by itself, so that a refusal can
// name what differs.
type kind uint8

const (
	content kind = iota
	article      // dropped
	filler       // politeness and emphasis; dropped
	stop         // the end of a clause; dropped
	asking       // question words: how, why, whether
	number
	date
	unit
	quoted
	identifier
	negation
	comparison // also direction, quantity and order in time
	verb       // auxiliary verbs, which carry tense and mood
	person     // pronouns and possessives
	particle   // prepositions, conjunctions and the like
)

// kindNames are the names by which rules refer to kinds.
var kindNames = map[string]kind{"content": content, "asking": asking, "person": person, "number": number, "date": date}

// vocabulary defines a language for Guard.
type vocabulary struct {
	classes []class
	// elsewhere lists words that further languages have too, so they do not tell the language
	// of a text: the "a" in "Llama a Ana" is not an article.
	elsewhere string
	sets      map[string]string // words that rules refer to by the name of their set
	rules     string            // see parseRules
}

// class lists the words of a kind. Words that mean the same are joined by "=", and the
// first of them is the form by which all are compared.
type class struct {
	kind  kind
	words string
}

// meaning is the entry of a word in a lexicon.
type meaning struct {
	kind kind
	form string
}

// lexicon is a parsed vocabulary.
type lexicon struct {
	known   map[string]meaning
	tells   map[string]bool // words that tell the language
	sets    map[string]map[string]bool
	rules   []rule
	longest int // letters of the longest word
}

// lexicons are built when they are first needed, because most servers never need them.
type lexicons struct {
	shared, english, german, chinese *lexicon
	simplified                       map[rune]rune // by traditional characters
	isSimplified                     map[rune]bool // for characters that only simplified script has
}

var loadLexicons = sync.OnceValue(func() *lexicons {
	l := &lexicons{
		shared:     newLexicon(vocabulary{classes: sharedClasses}),
		english:    newLexicon(english),
		german:     newLexicon(german),
		chinese:    newLexicon(chinese),
		simplified: make(map[rune]rune), isSimplified: make(map[rune]bool),
	}
	for pair := range strings.FieldsSeq(traditional) {
		from, size := utf8.DecodeRuneInString(pair)
		to, _ := utf8.DecodeRuneInString(pair[size:])
		l.simplified[from] = to
		l.isSimplified[to] = !strings.ContainsRune("后里几台于干面", to) // traditional script has these as other words
	}
	return l
})

func newLexicon(v vocabulary) *lexicon {
	l := &lexicon{known: make(map[string]meaning), tells: make(map[string]bool), sets: make(map[string]map[string]bool)}
	for _, c := range v.classes {
		for group := range strings.FieldsSeq(c.words) {
			form, _, _ := strings.Cut(group, "=")
			for word := range strings.SplitSeq(group, "=") {
				l.known[word] = meaning{c.kind, form}
				l.tells[word] = true
				l.longest = max(l.longest, utf8.RuneCountInString(word))
			}
		}
	}
	for word := range strings.FieldsSeq(v.elsewhere) {
		delete(l.tells, word)
	}
	for name, words := range v.sets {
		l.sets[name] = make(map[string]bool)
		for word := range strings.FieldsSeq(words) {
			l.sets[name][word] = true
		}
	}
	l.rules = parseRules(v.rules, l.sets)
	return l
}

// sharedClasses are written alike in several languages, or mean the same in each.
var sharedClasses = []class{
	{number, numberWords},
	{date, dateWords},
	{unit, unitWords},
}

const numberWords = `
	0=zero=null=零=〇 1=one=eins=一 2=two=zwei=二=两 3=three=drei=三 4=four=vier=四 5=five=fünf=五
	6=six=sechs=六 7=seven=sieben=七 8=eight=acht=八 9=nine=neun=九 10=ten=zehn=十 11=eleven=elf=十一 12=twelve=zwölf=十二
	13=thirteen=dreizehn=十三 14=fourteen=vierzehn=十四 15=fifteen=fünfzehn=十五 16=sixteen=sechzehn=十六
	17=seventeen=siebzehn=十七 18=eighteen=achtzehn=十八 19=nineteen=neunzehn=十九 20=twenty=zwanzig=二十
	30=thirty=dreißig=dreissig=三十 40=forty=vierzig=四十 50=fifty=fünfzig=五十 60=sixty=sechzig=六十 70=seventy=siebzig=七十
	80=eighty=achtzig=八十 90=ninety=neunzig=九十 100=hundred=hundert=百=一百 1000=thousand=tausend=千=一千 10000=万=一万
	1000000=million=millionen=百万 1000000000=billion=milliarde=milliarden=亿=十亿
	once=einmal=一次 twice=zweimal=两次 thrice=dreimal=三次 double=doppelt=两倍 triple=dreifach=三倍
	half=halb=halbe=halben=一半=半 quarter=viertel dozen=dutzend
	1st=first=erste=ersten=erster=erstes=第一 2nd=second=zweite=zweiten=zweiter=zweites=第二 3rd=third=dritte=dritten=dritter=drittes=第三
	4th=fourth=vierte=vierten=第四 5th=fifth=fünfte=fünften=第五 last=letzte=letzten=letzter=letztes=最后`

const dateWords = `
	january=jan=januar february=feb=februar march=märz april=apr may=mai june=juni july=juli august=aug
	september=sept=sep october=oct=oktober=okt november=nov december=dec=dezember=dez
	monday=montag=周一=星期一 tuesday=dienstag=周二=星期二 wednesday=mittwoch=周三=星期三 thursday=donnerstag=周四=星期四
	friday=freitag=周五=星期五 saturday=samstag=sonnabend=周六=星期六 sunday=sonntag=周日=星期日=星期天
	today=heute=今天 tomorrow=morgen=明天 yesterday=gestern=昨天 tonight=今晚 now=jetzt=现在 后天 前天
	morning=morgens=早上=上午 noon=mittags=中午 afternoon=nachmittags=下午 evening=abends=晚上 night=nachts=夜里 midnight=mitternacht=午夜
	spring=frühling=春天 summer=sommer=夏天 autumn=herbst=fall=秋天 winter=冬天
	今年 明年 去年 next=nächste=nächsten=nächster=nächstes previous=vorige=vorigen pm bc ad`

const unitWords = `
	mm=millimeter=millimeters=millimetre=millimetres=毫米 cm=centimeter=centimeters=centimetre=centimetres=zentimeter=厘米
	m=meter=meters=metre=metres=metern=米 km=kilometer=kilometers=kilometre=kilometres=kilometern=公里=千米
	inch=inches=zoll=英寸 ft=foot=feet=fuß=英尺 yard=yards mile=miles=meile=meilen=英里
	mg=milligram=milligrams=milligramm=毫克 g=gram=grams=gramm=克 kg=kilogram=kilograms=kilogramm=kilo=kilos=公斤=千克 斤
	t=ton=tons=tonne=tonnes=tonnen=吨 lb=lbs=pound=pounds=pfund=磅 oz=ounce=ounces=unze=unzen=盎司
	ml=milliliter=milliliters=millilitre=毫升 l=liter=liters=litre=litres=litern=升 gallon=gallons=加仑 cup=cups=tasse=tassen
	ms=millisecond=milliseconds=millisekunde=millisekunden=毫秒 sec=seconds=sekunde=sekunden=秒 min=minute=minutes=minuten=分钟
	h=hour=hours=stunde=stunden=小时 day=days=tag=tage=tagen=天 week=weeks=woche=wochen=周=星期 month=months=monat=monate=monaten=月
	year=years=jahr=jahre=jahren=年 decade=decades=jahrzehnt=jahrzehnte century=centuries=jahrhundert=jahrhunderte=世纪
	celsius=°c=摄氏度=摄氏 fahrenheit=°f=华氏度=华氏 kelvin degree=degrees=grad=度=° rad=radian=radians
	%=percent=prozent=百分之 ‰ €=eur=euro=euros=欧元 $=usd=dollar=dollars=美元 £=gbp=sterling=英镑 ¥=yen=jpy=日元 cny=rmb=yuan=人民币=元
	chf=franken cent=cents bit=bits=比特 byte=bytes=字节 kb=kilobyte=kilobytes mb=megabyte=megabytes gb=gigabyte=gigabytes tb=terabyte=terabytes
	hz=hertz khz mhz ghz w=watt=watts=瓦 kw=kilowatt=千瓦 v=volt=volts=伏 ampere=amps=安培 ohm kwh=千瓦时
	j=joule=joules cal=calorie=calories=kalorien kcal kmh mph knots`

func isHan(r rune) bool {
	return r >= 0x4E00 && r <= 0x9FFF || r >= 0x3400 && r <= 0x4DBF || r == '〇'
}
