package scenario

import custodyv1 "amanat.example/proto/amanat/custody/v1"

// kind is what the published figures name a harm, and what is assumed of those it is done to: no figure gives ages, risk, or the sexes by
// kind. The shares of girls make, with the women, the 70.7 of 100 that are women and girls (figures.csv, `female`).
type kind struct {
	// codes of the list `exploitation`; empty: none.
	codes []weighed
	// girls is the share of girls among children.
	girls float64
	// youngest, usual, oldest age of a child.
	ages [3]int
	// high, medium, low: shares of the risks.
	risk [3]float64
	// tell is what happened, in roman, Urdu and Sindhi letters.
	tell [3]string
}

// bonded is what trafficking within the country ends in.
var bonded = []weighed{{"DomesticServitude", 45}, {"ForcedLabour", 25}, {"BondedLabourBrickKiln", 18}, {"BondedLabourAgriculture", 12}}

var kinds = map[string]kind{
	"beggary": {
		[]weighed{{"ForcedBegging", 1}},
		0.677,
		[3]int{3, 8, 15},
		[3]float64{0.15, 0.50, 0.35},
		[3]string{"Found begging at a crossing; somebody collects the money in the evening.", "چوراہے پر بھیک؛ شام کو کوئی پیسے لے جاتا ہے۔", "چونڪ تي پينو؛ شام جو ڪو پئسا وٺي ويندو آهي."},
	},
	"sexual": {
		[]weighed{{"SexualExploitation", 1}},
		0.75,
		[3]int{5, 14, 17},
		[3]float64{0.60, 0.35, 0.05},
		[3]string{"Brought by the police after a report; needs a quiet room and a woman to talk to.", "اطلاع پر پولیس لے کر آئی؛ الگ کمرے اور خاتون کارکن کی ضرورت ہے۔", "اطلاع تي پوليس وٺي آئي؛ الڳ ڪمري ۽ عورت ڪارڪن جي ضرورت آهي."},
	},
	"trafficking": {
		bonded, 0.75,
		[3]int{8, 14, 17},
		[3]float64{0.50, 0.40, 0.10},
		[3]string{"Was promised work in the city and kept there; the pay went to an agent.", "شہر میں کام کا جھوٹا وعدہ؛ اجرت ایجنٹ لیتا رہا۔", "شهر ۾ ڪم جو ڪوڙو واعدو؛ اجرت ايجنٽ وٺندو رهيو."},
	},
	"labour": {
		[]weighed{{"ChildLabour", 60}, {"BondedLabourBrickKiln", 20}, {"BondedLabourAgriculture", 20}},
		0.35,
		[3]int{7, 12, 17},
		[3]float64{0.15, 0.50, 0.35},
		[3]string{"Works long days to pay off an advance that the family took.", "خاندان کی لی ہوئی پیشگی کے بدلے سارا دن کام۔", "خاندان جي ورتل پيشگيءَ جي بدلي سڄو ڏينهن ڪم."},
	},
	"servitude": {
		[]weighed{{"DomesticServitude", 70}, {"Servitude", 30}},
		0.7,
		[3]int{8, 13, 17},
		[3]float64{0.35, 0.50, 0.15},
		[3]string{"Kept in a house as a servant and not let out; a neighbour reported it.", "گھر میں ملازمت، باہر جانے کی اجازت نہ تھی؛ پڑوسی نے اطلاع دی۔", "گهر ۾ نوڪري، ٻاهر وڃڻ جي اجازت نه هئي؛ پاڙيسريءَ اطلاع ڏني."},
	},
	"physical": {
		[]weighed{{"Other", 1}},
		0.50,
		[3]int{2, 9, 16},
		[3]float64{0.40, 0.45, 0.15},
		[3]string{"Beaten; bruises were seen by a doctor.", "مار پیٹ ہوئی؛ ڈاکٹر نے نشانات دیکھے۔", "مار ڏني وئي؛ ڊاڪٽر نشان ڏٺا."},
	},
	"kidnapping": {
		[]weighed{{"Other", 1}},
		0.65,
		[3]int{2, 10, 16},
		[3]float64{0.55, 0.35, 0.10},
		[3]string{"Was taken away from home and found at a bus stand.", "گھر سے اغوا؛ بس اڈے پر اطلاع ملی۔", "گهر مان اغوا؛ بس اڏي تي اطلاع ملي."},
	},
	"marriage": {
		[]weighed{{"ForcedMarriage", 85}, {"VaniOrSwara", 15}},
		1,
		[3]int{12, 15, 17},
		[3]float64{0.65, 0.30, 0.05},
		[3]string{"Was to be married against her will; somebody called the helpline.", "مرضی کے خلاف شادی؛ ہیلپ لائن پر اطلاع ملی۔", "مرضيءَ جي خلاف شادي؛ هيلپ لائن تي اطلاع ملي."},
	},
	"missing": {
		nil, 0.40,
		[3]int{3, 9, 15},
		[3]float64{0.20, 0.50, 0.30},
		[3]string{"Lost, or ran away; knows the name of the town and of the father.", "گمشدگی یا گھر چھوڑنا؛ شہر اور والد کا نام معلوم ہے۔", "گمشدگي يا گهر ڇڏڻ؛ شهر ۽ پيءُ جو نالو معلوم آهي."},
	},
	kilns: {
		[]weighed{{"BondedLabourBrickKiln", 1}},
		0.5,
		[3]int{5, 9, 14},
		[3]float64{0, 0.10, 0.90},
		[3]string{"Found making bricks at a kiln.", "بھٹے پر اینٹیں بنانے کا کام۔", "بٺي تي سرون ٺاهڻ جو ڪم."},
	},
}

// kilns is the kind of the surge.
const kilns = "kilns"

// synthetic begins each narrative, in roman, Urdu and Sindhi letters.
var synthetic = [3]string{"Synthetic. ", "مصنوعی۔ ", "هٿرادو. "}

var risks = []custodyv1.Urgency{custodyv1.Urgency_URGENCY_HIGH, custodyv1.Urgency_URGENCY_MEDIUM, custodyv1.Urgency_URGENCY_LOW}
