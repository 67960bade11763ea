package semantic

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// kind says what a token is to a question's meaning.
type kind uint8

const (
	content kind = iota
	function
	asking
	number
	date
	unit
	quoted
	identifier
	negation
	comparison
)

// language is what a function word tells of its text.
type language uint8

const (
	unknown language = iota
	english
	german
)

// meaning is what the lexicon knows of a word. Words that mean the same share the
// form they are compared by.
type meaning struct {
	kind     kind
	form     string
	language language
}

// words are the words that guards look for, in lower case.
type words struct {
	known      map[string]meaning
	longestHan int // Chinese characters of the longest word
}

// lexicon is made when it is first asked for, since most servers never do.
var lexicon = sync.OnceValue(func() words {
	w := words{known: make(map[string]meaning)}
	for _, list := range lists {
		for group := range strings.FieldsSeq(list.words) {
			form, _, _ := strings.Cut(group, "=")
			for word := range strings.SplitSeq(group, "=") {
				w.known[word] = meaning{list.kind, form, list.language}
				if first, _ := utf8.DecodeRuneInString(word); isHan(first) {
					w.longestHan = max(w.longestHan, utf8.RuneCountInString(word))
				}
			}
		}
	}
	return w
})

var lists = []struct {
	kind     kind
	language language
	words    string
}{
	{function, unknown, functionWords},
	{function, english, englishFunctionWords},
	{function, german, germanFunctionWords},
	{asking, unknown, askingWords},
	{number, unknown, numberWords},
	{date, unknown, dateWords},
	{unit, unknown, unitWords},
	{negation, unknown, negationWords},
	{comparison, unknown, comparisonWords},
}

// The lists below are of words apart by white space, with those that mean the same
// joined by "=". A word stands in one list only. What carries meaning in some
// questions is left out of the function words: to refuse a match too many is
// cheap.

// functionWords say nothing by themselves, and belong to several languages or to
// Chinese, where the questions A-not-A are no negations. Of "I" and "you", only
// the order counts.
const functionWords = `
	in an am die man dies hat bin des also
	i=me=my=mine=we=us=our=ich=mir=mich=mein=meine=meinen=meinem=meiner=wir=uns=unser=unsere=我
	you=your=du=dir=dich=dein=deine=deinen=你=您
	的 了 吗 呢 吧 啊 呀 嘛 么 请 请问 你好 您好 是 有 就 都 也 很 把 被 给 一 一下 一个 这 那 个 地 得 着 想 能 会 可以
	怎么 怎样 如何 怎么样 什么 是什么 什么是 哪些 哪个 帮我 告诉我 麻烦 谢谢 我想知道 想知道 能否 可否 是否
	是不是 能不能 会不会 可不可以 有没有 要不要 好不好 对不对 一样 一起`

const englishFunctionWords = `
	a the is are be been being do does did done have has can could would
	it this that these those there here
	what which how of to for on at and
	please tell explain show give let know want like thanks thank hi hello hey just really ca way about`

const germanFunctionWords = `
	der das den dem ein eine einen einem einer eines ist sind sein habe haben
	kann können könnte könnten könntest kannst möchte würde
	sich welche welcher welches welchen welchem wie wieviel
	und im zu zum zur für auf bei beim als dass denn dieser diese dieses diesen diesem
	bitte sag sagen erkläre erklären zeig zeige gib mal doch eigentlich danke hallo gerne`

const askingWords = `
	who=whom=whose=wer=wen=wem=wessen=谁 when=wann=什么时候=何时 where=wo=woher=wohin=哪里=哪儿=在哪
	why=warum=weshalb=wieso=为什么=为何 多少=几`

const numberWords = `
	0=zero=null=零=〇 1=one=eins 2=two=zwei=二=两 3=three=drei=三 4=four=vier=四 5=five=fünf=五
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

// negationWords with one form may stand for each other.
const negationWords = `
	not=cannot=nicht=不=没=没有=未 never=nie=niemals=从不=从未=永不 no=kein=keine=keinen=keinem=keiner=keines none=无 nothing=nichts
	nobody=niemand without=ohne nor=weder=neither 别=不要=勿 unless except=außer=除了 avoid=vermeiden=避免 non=非`

// comparisonWords compare, or say in which direction something goes, or how many
// of several are meant.
const comparisonWords = `
	more=mehr=更多=多 less=weniger=更少=少 fewer most=meisten=最多 least=wenigsten=最少 than 比
	greater=größer=larger=bigger=更大=大于 smaller=kleiner=更小=小于
	largest=biggest=greatest=größte=größten=größter=größtes=最大 smallest=kleinste=kleinsten=kleinster=kleinstes=最小
	higher=höher=更高=高于 lower=niedriger=tiefer=更低=低于 highest=höchste=höchsten=höchster=最高 lowest=niedrigste=niedrigsten=tiefste=最低
	longer=länger=更长 shorter=kürzer=更短 longest=längste=längsten=最长 shortest=kürzeste=kürzesten=最短
	better=besser=更好 worse=schlechter=更差 best=beste=besten=bester=最好 worst=schlechteste=schlechtesten=最差
	faster=schneller=更快 slower=langsamer=更慢 fastest=schnellste=最快 slowest=langsamste=最慢 cheaper=billiger=günstiger=更便宜 teurer=更贵
	older=älter=更老 younger=jünger=更年轻 newer=neuer oldest=älteste youngest=jüngste newest=neueste=latest=最新 earliest=最早
	before=vor=vorher=之前=以前 after=nach=nachher=之后=以后 until=till=bis=到 since=seit=自从 from=von=从 into=ins out=aus=出
	between=zwischen=之间 above=over=über=oberhalb=以上 below=under=unter=unterhalb=以下 against=gegen up=hinauf=上 down=hinunter=下 off
	max=maximum=maximal minimum=minimal exactly=genau only=nur=只 all=alle=allen=所有 any some=einige every=jede=jeder=jedes=每 both=beide=beiden
	left=links=左 right=rechts=右 same=gleich=gleiche=相同 different=verschieden=不同 equal=equals=等于 vs=versus=gegenüber`

func isHan(r rune) bool {
	return r >= 0x4E00 && r <= 0x9FFF || r >= 0x3400 && r <= 0x4DBF || r == '〇'
}
