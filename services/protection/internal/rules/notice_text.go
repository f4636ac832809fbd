package rules

import (
	"fmt"
	"strings"
	"time"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/codes"
)

// shownNotices is how many notices a message tells one by one; of the rest it tells how many.
const shownNotices = 20

// LanguageOf is the language in which a worker is written to.
func LanguageOf(w *protectionv1.Worker) string {
	lang, ok := codes.LangOf(w.GetLanguage())
	if !ok {
		lang = codes.English
	}
	return string(lang)
}

// HighRisk says whether a notice is of high risk, or of one that nobody knows.
func HighRisk(n *protectionv1.Notice) bool { return high(n) }

// words are what a message says in one language. Numbers and names go into them by position.
type words struct {
	subject  string // one deadline: what can be said on the phone
	subjects string // several: how many
	intro    string
	risk     string // before what is of high risk
	late     string // days, hours, minutes
	more     string // how many are not shown
	outro    string
}

var wordsOf = map[codes.Lang]words{
	codes.English: {
		subject: "Amanat: a deadline was missed%s", subjects: "Amanat: %d deadlines were missed",
		intro: "The following was due and has not been done. You are told because you answer for it now.",
		risk:  "HIGH RISK", late: "late by %d d %d h %d min", more: "… and %d more. All stand in the list of notices.",
		outro: "Please take notice in Amanat, so that nobody else is told in your place. Do not answer this message.",
	},
	codes.Urdu: {
		subject: "امانت: ایک مقررہ وقت گزر گیا%s", subjects: "امانت: %d مقررہ اوقات گزر گئے",
		intro: "درج ذیل کام مقررہ وقت تک نہیں ہوئے۔ آپ کو اس لیے بتایا جا رہا ہے کہ اب آپ ان کے ذمہ دار ہیں۔",
		risk:  "شدید خطرہ", late: "تاخیر: %d دن %d گھنٹے %d منٹ", more: "… اور %d مزید۔ سب اطلاعات کی فہرست میں موجود ہیں۔",
		outro: "براہ کرم امانت میں اطلاع کی تصدیق کریں تاکہ آپ کی جگہ کسی اور کو نہ بتایا جائے۔ اس پیغام کا جواب نہ دیں۔",
	},
	codes.Sindhi: {
		subject: "امانت: هڪ مقرر وقت گذري ويو%s", subjects: "امانت: %d مقرر وقت گذري ويا",
		intro: "هيٺيان ڪم مقرر وقت تائين نه ٿيا. توهان کي ان ڪري ٻڌايو پيو وڃي جو هاڻي توهان انهن جا ذميوار آهيو.",
		risk:  "شديد خطرو", late: "دير: %d ڏينهن %d ڪلاڪ %d منٽ", more: "… ۽ %d وڌيڪ. سڀ اطلاعن جي لسٽ ۾ موجود آهن.",
		outro: "مهرباني ڪري امانت ۾ اطلاع جي تصديق ڪريو ته جيئن توهان جي جاءِ تي ٻئي کي نه ٻڌايو وڃي. هن پيغام جو جواب نه ڏيو.",
	},
}

// NoticeText is what a message says: what was due, of what reference, how late, and where to read more;
// nothing of the person in care. gateway is where links begin.
func NoticeText(notices []*protectionv1.Notice, language, gateway string, now time.Time) (subject, text string) {
	lang, ok := codes.LangOf(language)
	if !ok {
		lang = codes.English
	}
	w := wordsOf[lang]
	if len(notices) == 1 {
		reference := ""
		if r := notices[0].GetReference(); r != "" {
			reference = ": " + r
		}
		subject = fmt.Sprintf(w.subject, reference)
	} else {
		subject = fmt.Sprintf(w.subjects, len(notices))
	}
	b := &strings.Builder{}
	b.WriteString(w.intro + "\n\n")
	for _, n := range notices[:min(len(notices), shownNotices)] {
		if high(n) {
			b.WriteString(w.risk + " – ")
		}
		b.WriteString(codes.Label(codes.Deadline, n.GetStep(), lang))
		if n.GetReference() != "" {
			b.WriteString(" – " + n.GetReference())
		}
		minutes := int(max(0, now.Sub(n.GetDueTime().AsTime())).Minutes())
		b.WriteString(" – " + fmt.Sprintf(w.late, minutes/(24*60), minutes/60%24, minutes%60) + "\n" + gateway + n.GetPath() + "\n\n")
	}
	if more := len(notices) - shownNotices; more > 0 {
		b.WriteString(fmt.Sprintf(w.more, more) + "\n\n")
	}
	b.WriteString(w.outro + "\n")
	return subject, b.String()
}
