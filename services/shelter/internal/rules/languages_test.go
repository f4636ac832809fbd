package rules_test

import (
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/shelter/internal/rules"
)

// sentences are all that a person reads in an answer, without the names of shelters.
func sentences(r *shelterv1.FindPlacesResponse) string {
	all := []string{r.GetSummary()}
	for _, l := range r.GetLeftOut() {
		all = append(all, l.GetSentence())
	}
	for _, p := range r.GetPlaces() {
		for _, reason := range p.GetReasons() {
			all = append(all, reason.GetSentence())
		}
	}
	said := strings.Join(all, "\n")
	for _, p := range r.GetPlaces() {
		said = strings.ReplaceAll(said, p.GetDisplayName(), "")
	}
	return said
}

// wordless is an answer without its sentences.
func wordless(r *shelterv1.FindPlacesResponse) *shelterv1.FindPlacesResponse {
	bare := proto.CloneOf(r)
	bare.Summary = ""
	for _, l := range bare.GetLeftOut() {
		l.Sentence = ""
	}
	for _, p := range bare.GetPlaces() {
		for _, reason := range p.GetReasons() {
			reason.Sentence = ""
		}
	}
	return bare
}

var latin = regexp.MustCompile(`[A-Za-z]+`)

// sameInEveryLanguage searches in Urdu and Sindhi: the same places for the same reasons, in words of that language.
func sameInEveryLanguage(t *testing.T, places *rules.Places, c situation, english *shelterv1.FindPlacesResponse) {
	t.Helper()
	for _, language := range []string{"ur", "sd"} {
		request := proto.CloneOf(c.search)
		request.LanguageCode = language
		got := places.Find(request, c.at())
		if !proto.Equal(wordless(got), wordless(english)) {
			t.Errorf("%s finds\n%v\nEnglish finds\n%v", language, wordless(got), wordless(english))
		}
		if left := latin.FindAllString(sentences(got), -1); len(left) > 0 {
			t.Errorf("%s has English words: %q in\n%s", language, left, sentences(got))
		}
		if strings.ContainsAny(sentences(got), "{}") {
			t.Errorf("%s has arguments that were not filled in:\n%s", language, sentences(got))
		}
	}
}

// spoken are what a worker in Quetta or Sukkur reads of some situations.
var spoken = map[string]struct{ ur, sd, urReason, sdReason string }{
	"girl of 9 with a brother of 4": {
		ur:       "9 سال کی لڑکی اور 4 سال کے لڑکے کے لیے بہترین جگہ: لاہور میں Protection bureau Lahore۔",
		sd:       "9 سالن جي ڇوڪريءَ ۽ 4 سالن جي ڇوڪري لاءِ بهترين جاءِ: لاهور ۾ Protection bureau Lahore.",
		urReason: "تمام 2 افراد اسی پناہ گاہ میں، 2 گروپوں میں رہیں گے۔",
		sdReason: "سڀ 2 ڄڻا هن ئي پناهگاهه ۾، 2 گروپن ۾ رهندا.",
	},
	"mother with three": {
		ur:       "4 افراد کے خاندان کے لیے بہترین جگہ: لاہور میں Dar-ul-Aman Lahore۔",
		sd:       "4 ڄڻن جي خاندان لاءِ بهترين جاءِ: لاهور ۾ Dar-ul-Aman Lahore.",
		urReason: "عدالت کا حکم ضروری ہے۔",
		sdReason: "عدالت جو حڪم ضروري آهي.",
	},
	"girl of 15 in Islamabad: the institute takes boys only": {
		ur:       "اسلام آباد میں 15 سال کی لڑکی کے لیے کوئی بستر نہیں ہے: 1 پناہ گاہ صرف لڑکوں کو داخل کرتی ہے۔ بہترین جگہ: لاہور میں Protection bureau Lahore، تقریباً 280 کلومیٹر دور۔",
		sd:       "اسلام آباد ۾ 15 سالن جي ڇوڪريءَ لاءِ ڪو به بسترو ناهي: 1 پناهگاهه رڳو ڇوڪرن کي داخل ڪري ٿي. بهترين جاءِ: لاهور ۾ Protection bureau Lahore، اٽڪل 280 ڪلوميٽر پري.",
		urReason: "ضلعے سے ضلعے تک تقریباً 280 کلومیٹر دور ہے۔",
		sdReason: "ضلعي کان ضلعي تائين اٽڪل 280 ڪلوميٽر پري آهي.",
	},
	"girl of 13 who speaks Sindhi alone": {
		ur:       "13 سال کی لڑکی کے لیے بہترین جگہ: کورنگی میں Korangi home، تقریباً 700 کلومیٹر دور۔",
		sd:       "13 سالن جي ڇوڪريءَ لاءِ بهترين جاءِ: ڪورنگي ۾ Korangi home، اٽڪل 700 ڪلوميٽر پري.",
		urReason: "وہاں سندھی بولی جاتی ہے۔",
		sdReason: "اتي سنڌي ڳالهائي وڃي ٿي.",
	},
	"age known only as 15 to 19": {
		ur:       "کورنگی میں 15 سے 19 سال کی لڑکی یا خاتون کے لیے کوئی بستر نہیں ہے: 2 پناہ گاہیں اس عمر کے افراد کو داخل نہیں کرتیں۔ بہترین جگہ: حیدر آباد میں Dar-ul-Aman Hyderabad، تقریباً 140 کلومیٹر دور۔",
		sd:       "ڪورنگي ۾ 15 کان 19 سالن جي ڇوڪريءَ يا عورت لاءِ ڪو به بسترو ناهي: 2 پناهگاهون هن عمر جي ماڻهن کي داخل نٿيون ڪن. بهترين جاءِ: حيدرآباد ۾ Dar-ul-Aman Hyderabad، اٽڪل 140 ڪلوميٽر پري.",
		urReason: "اس کے بعد وہاں 1 اور جگہ خالی رہے گی۔",
		sdReason: "هن کان پوءِ اتي 1 ٻي جاءِ خالي رهندي.",
	},
	"boy of 9 in Quetta, one shelter suspended, one says it is full": {
		ur: "9 سال کے لڑکے کے لیے کوئی جگہ نہیں ہے: 1 پناہ گاہ کا کہنا ہے کہ وہ بھری ہوئی ہے اور 1 پناہ گاہ فی الحال کسی کو داخل نہیں کر رہی۔",
		sd: "9 سالن جي ڇوڪري لاءِ ڪا به جاءِ ناهي: 1 پناهگاهه چوي ٿي ته اها ڀريل آهي ۽ 1 پناهگاهه هن وقت ڪنهن کي داخل نٿي ڪري.",
	},
}

// speaks holds the golden sentences.
func (c situation) speaks(t *testing.T, places *rules.Places) {
	t.Helper()
	want, ok := spoken[c.what]
	if !ok {
		return
	}
	for language, says := range map[string][2]string{"ur": {want.ur, want.urReason}, "sd": {want.sd, want.sdReason}} {
		request := proto.CloneOf(c.search)
		request.LanguageCode = language
		got := places.Find(request, c.at())
		if got.GetSummary() != says[0] {
			t.Errorf("%s says  %s\n want %s", language, got.GetSummary(), says[0])
		}
		if says[1] != "" && !strings.Contains(sentences(got), says[1]) {
			t.Errorf("%s: no place says %s:\n%s", language, says[1], sentences(got))
		}
	}
}

func TestEveryGoldenSituationIsInTheTable(t *testing.T) {
	left := len(spoken)
	for _, c := range allSituations() {
		if _, ok := spoken[c.what]; ok {
			left--
		}
	}
	if left != 0 {
		t.Errorf("%d situations with golden sentences are not in the table", left)
	}
}
