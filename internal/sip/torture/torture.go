// Package torture has messages that break SIP servers: one for each case of RFC 4475 and RFC 5118, written
// from the RFCs' descriptions of them, with what may be answered. Tests send them.
package torture

import (
	"fmt"
	"strings"
)

// Case is one message.
type Case struct {
	Name, Section string // as the RFC has them
	text          string // lines end with \n; see Text for what is filled in
	Answers       []int  // the final responses that are right; nil: none may come
	OverTCP       []int  // the same over TCP, where that differs
	Unanswered    string // why ours is another answer than the RFC wants; Answers has what it is
}

// Final responses to an INVITE that was understood: what becomes of the call is not the parser's business.
var understood = []int{200, 404, 480, 484, 486, 488, 603, 604}

// body is a session description with one stream of audio.
const body = "v=0\no=- 31 7 IN IP4 192.0.2.77\ns=-\nc=IN IP4 192.0.2.77\nt=0 0\nm=audio 41000 RTP/AVP 0 12\nm=video 41002 RTP/AVP 31\na=rtpmap:31 LPC\n"

// Text is the message as it is sent by transport ("UDP" or "TCP") from sentBy, a host:port. n tells copies
// apart: it is in the Call-ID and the branch.
func (c Case) Text(transport, sentBy string, n int) []byte {
	id := fmt.Sprintf("%s-%d", c.Name, n)
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	text := strings.NewReplacer(
		"{via}", "SIP/2.0/"+transport+" "+sentBy,
		"{transport}", transport,
		"{branch}", "branch=z9hG4bK"+id,
		"{sentby}", sentBy,
		"{id}", id,
		"{sdp}", "Content-Type: application/sdp\nContent-Length: "+fmt.Sprint(len(crlf(body)))+"\n\n"+body,
		"{sdplength}", fmt.Sprint(len(crlf(body))),
		"{body}", body,
		"{long}", strings.Repeat("very", 60),
	).Replace(c.text)
	text = crlf(text)
	_, after, _ := strings.Cut(text, "\r\n\r\n")
	return []byte(strings.ReplaceAll(text, "{bodylength}", fmt.Sprint(len(after))))
}

// RFC4475 are the messages of RFC 4475, one for each of its 49.
var RFC4475 = []Case{
	{Name: "wsinv", Section: "3.1.1.1", Answers: append([]int{481}, understood...), text: `INVITE sip:dora@example.net;unknownparam SIP/2.0
TO :
 sip:dora@example.net ;   tag    = 7411802
from   : "D Copper \\\""       <sip:dcopper@example.org>
  ;
  tag = 33tk9
MaX-fOrWaRdS: 0051
Call-ID: {id}
Content-Length   : {sdplength}
cseq: 0017
  INVITE
Via  : SIP  /   2.0
  /{transport}
    {sentby};branch=
  z9hG4bK{id}
s :
NewFangledHeader:   a value nobody knows
 goes on here
UnknownHeaderWithUnusualValue: ;;,,;;,;
Content-Type: application/sdp
Route:
 <sip:services.example.net;lr;unknownwith=value;unknown-no-value>
v:  SIP  / 2.0  / TCP     relay.example.com   ;
  branch  =   z9hG4bK98relay  ,
 SIP  /    2.0   / UDP  192.0.2.101 ;   branch=
 z9hG4bKfirst
m:"Quoted string \"\"" <sip:dcopper@example.org> ; newparam =
      newvalue ;
  secondparam ; q = 0.41

{body}`},
	{Name: "intmeth", Section: "3.1.1.2", Answers: []int{405, 501}, text: "!odd-Name0123456789_*+`.%of'a~method sip:1_strange.!~*'()&=+$,;?/:&it+has=1,strange$user:&;=+$,@example.net SIP/2.0\n" +
		"Via: {via};{branch}\nTo: \"BEL:\\\a NUL:\\\x00 DEL:\\\x7f\" <sip:1_strange.!~*'()&=+$,;?/:@example.net>\n" +
		"From: token1~` token2'+_ token3*%!.- <sip:ok@example.org>;fromParam''~+*_!.-%=\"ÑÎ°Ð±Ð\";tag=_strange*tag+~`-%!\n" +
		"Call-ID: odd%Z.!~*:\"{id}\"<>()[]{}?\nCSeq: 139122385 !odd-Name0123456789_*+`.%of'a~method\nMax-Forwards: 255\n" +
		"extensionHeader-!.%*+_`'~:大停電\nContent-Length: 0\n\n"},
	{Name: "esc01", Section: "3.1.1.3", Answers: understood, text: `INVITE sip:sips%3Amara%40example.org@example.net SIP/2.0
To: sip:%6dara@example.net
From: <sip:I%20have%20spaces@example.org>;tag=771
Max-Forwards: 87
Call-ID: {id}
CSeq: 8812 INVITE
Contact: <sip:caller@host5.example.org;%6C%72;n%61me=v%61lue%25%34%31>
Via: {via};{branch}
{sdp}`},
	{Name: "escnull", Section: "3.1.1.4", Answers: []int{404, 200, 400}, text: `REGISTER sip:example.net SIP/2.0
To: sip:null-%00-null@example.net
From: sip:null-%00-null@example.net;tag=5518
Max-Forwards: 70
Call-ID: {id}
CSeq: 2 REGISTER
Via: {via};{branch}
Contact: <sip:%00@host5.example.net>
Contact: <sip:%00%00@host5.example.net>
L:0

`},
	{Name: "esc02", Section: "3.1.1.5", Answers: []int{405, 501}, text: `IN%56I%54E sip:example.net SIP/2.0
To: "%Z%45" <sip:resource@example.net>
From: "%Z%45" <sip:resource@example.net>;tag=f232
Call-ID: {id}
CSeq: 66 IN%56I%54E
Max-Forwards: 70
Via: {via};{branch}
Contact: <sip:alias1@host1.example.net>
Content-Length: 0

`},
	{Name: "lwsdisp", Section: "3.1.1.6", Answers: []int{200}, text: `OPTIONS sip:desk@example.net SIP/2.0
To: sip:desk@example.net
From: teller<sip:teller@example.org>;tag=912
Max-Forwards: 70
Call-ID: {id}
CSeq: 44 OPTIONS
Via: {via};{branch}
l: 0

`},
	{Name: "longreq", Section: "3.1.1.7", Answers: understood, text: `INVITE sip:desk@example.net SIP/2.0
To: "I have a user name of {long} extreme length" <sip:desk@example.net:6000;unknownparam1={long};longparam{long}=shortvalue;very{long}ParameterNameWithNoValue>
F: sip:{long}@example.org;tag=12982{long}424;unknownheaderparam{long}name=unknownheaderparam{long}value;unknownValueless{long}paramname
Call-ID: {id}.{long}
CSeq: 3882340 INVITE
Unknown-{long}-Name: unknown-{long}-value; unknown-{long}-parameter-name = unknown-{long}-parameter-value
Via: {via};{branch}
v: SIP/2.0/TCP sip33.example.org
v: SIP/2.0/TCP sip32.example.org
V: SIP/2.0/TCP sip31.example.org
Via: SIP/2.0/TCP sip30.example.org
ViA: SIP/2.0/TCP sip29.example.org
VIa: SIP/2.0/TCP sip28.example.org
VIA: SIP/2.0/TCP sip27.example.org
via: SIP/2.0/TCP sip26.example.org
viA: SIP/2.0/TCP sip25.example.org
vIa: SIP/2.0/TCP sip24.example.org
vIA: SIP/2.0/TCP sip23.example.org
V :  SIP/2.0/TCP sip22.example.org
v :  SIP/2.0/TCP sip21.example.org
V  : SIP/2.0/TCP sip20.example.org
v  : SIP/2.0/TCP sip19.example.org
Via : SIP/2.0/TCP sip18.example.org
Via  : SIP/2.0/TCP sip17.example.org
Via: SIP/2.0/TCP sip16.example.org
Max-Forwards: 70
Contact: <sip:{long}@host5.example.org>
{sdp}`},
	{Name: "dblreq", Section: "3.1.1.8", Answers: []int{404, 200}, OverTCP: append([]int{404}, understood...), text: `REGISTER sip:example.net SIP/2.0
To: sip:jo@example.net
From: sip:jo@example.net;tag=43251
Max-Forwards: 8
Call-ID: {id}
Contact: sip:jo@host.example.net
CSeq: 8 REGISTER
Via: {via};{branch}
Content-Length: 0


INVITE sip:joe@example.net SIP/2.0
t: sip:joe@example.net
From: sip:caller@example.org;tag=141334
Max-Forwards: 8
Call-ID: {id}-second
CSeq: 8 INVITE
Via: {via};{branch}second
Contact: <sip:caller@host5.example.org>
{sdp}`},
	{Name: "semiuri", Section: "3.1.1.9", Answers: []int{200}, text: `OPTIONS sip:desk;par=u%40example.org@example.net SIP/2.0
To: sip:jay_doe@example.net
From: sip:caller@example.org;tag=33242
Max-Forwards: 3
Call-ID: {id}
CSeq: 8 OPTIONS
Accept: application/sdp, application/pkcs7-mime, multipart/mixed, multipart/signed, message/sip, message/sipfrag
Via: {via};{branch}
l: 0

`},
	{Name: "transports", Section: "3.1.1.10", Answers: []int{200}, text: `OPTIONS sip:desk@example.net SIP/2.0
To: sip:desk@example.net
From: <sip:caller@example.org>;tag=323
Max-Forwards: 70
Call-ID: {id}
CSeq: 60 OPTIONS
Via: {via};{branch}
Via: SIP/2.0/SCTP t2.example.org;branch=z9hG4bKonetwo
Via: SIP/2.0/TLS t3.example.org;branch=z9hG4bKthree
Via: SIP/2.0/UNKNOWN t4.example.org;branch=z9hG4bKfour
Via: SIP/2.0/TCP t5.example.org;branch=z9hG4bKfive
l: 0

`},
	{Name: "mpart01", Section: "3.1.1.11", Answers: []int{405, 200, 415}, text: "MESSAGE sip:kumiko@example.net SIP/2.0\nVia: {via};{branch}\nMax-Forwards: 70\nRoute: <sip:127.0.0.1:5080>\n" +
		"Identity: r5mwreLuyDRYBi/0TiPwEsY3rEVsk/G2WxhgTV1PF7hHuLIK0YWVKZhKv9Mj8UeXqkMVbnVq37CD+813gvYjcBUa\nContent-Type: multipart/mixed;boundary=7a9cbec02ceef655\n" +
		"From: <sip:fluffy@example.org>;tag=2fb0dcc9\nTo: <sip:kumiko@example.net>\nCall-ID: {id}\nCSeq: 1 MESSAGE\nContent-Length: {bodylength}\n\n" +
		"--7a9cbec02ceef655\nContent-Type: text/plain\n\nHello\n--7a9cbec02ceef655\nContent-Type: application/octet-stream\n\n\x00\x01\xfe\xff\x8c--\n--7a9cbec02ceef655--\n    "},
	{Name: "unreason", Section: "3.1.1.12", text: "SIP/2.0 200 = 2**3 * 5**2 но сто девяносто девять - простое\nVia: {via};{branch}\nCall-ID: {id}\nCSeq: 35 INVITE\n" +
		"From: sip:user@example.net;tag=11141343\nTo: sip:user@example.org;tag=2229\nContact: <sip:user@host198.example.net>\n{sdp}"},
	{Name: "noreason", Section: "3.1.1.13", text: `SIP/2.0 100 
Via: {via};{branch}
Call-ID: {id}
CSeq: 35 INVITE
From: <sip:user@example.net>;tag=39ansfi3
To: <sip:user@example.org>;tag=902jndnke3
Content-Length: 0
Contact: <sip:user@host105.example.net>

`},
	{Name: "badinv01", Section: "3.1.2.1", Answers: []int{400}, text: `INVITE sip:desk@example.net SIP/2.0
To: sip:j.desk@example.net
From: sip:caller@example.org;tag=134161461246
Max-Forwards: 7
Call-ID: {id}
CSeq: 8 INVITE
Via: {via};;,;,,
Contact: "Joe" <sip:joe@example.org>;;;;
{sdp}`},
	{Name: "clerr", Section: "3.1.2.2", Answers: []int{400}, text: `INVITE sip:desk@example.net SIP/2.0
Max-Forwards: 80
To: sip:j.desk@example.net
From: sip:caller@example.org;tag=93942939o2
Contact: <sip:caller@hungry.example.org>
Call-ID: {id}
CSeq: 8 INVITE
Via: {via};{branch}
Content-Type: application/sdp
Content-Length: 9999

{body}`},
	{Name: "ncl", Section: "3.1.2.3", Answers: []int{400}, text: `INVITE sip:desk@example.net SIP/2.0
Max-Forwards: 254
To: sip:j.desk@example.net
From: sip:caller@example.org;tag=32394234
Call-ID: {id}
CSeq: 8 INVITE
Via: {via};{branch}
Contact: <sip:caller@host5.example.org>
Content-Type: application/sdp
Content-Length: -999

{body}`},
	{Name: "scalar02", Section: "3.1.2.4", Answers: []int{400}, text: `REGISTER sip:example.net SIP/2.0
Via: {via};{branch}
To: <sip:desk@example.net>
From: <sip:desk@example.net>;tag=239232jh3
CSeq: 73786976294838206464 REGISTER
Call-ID: {id}
Max-Forwards: 300
Expires: 10000000000000000
Contact: <sip:desk@host129.example.net>;expires=280297596632815
Content-Length: 0

`},
	{Name: "scalarlg", Section: "3.1.2.5", text: `SIP/2.0 503 Service Unavailable
Via: {via};{branch}
To: <sip:desk@example.net>
From: <sip:other@example.org>;tag=2easdjfejw
CSeq: 9292394834772304023312 OPTIONS
Call-ID: {id}
Retry-After: 949302838503028349304023988
Warning: 1812 overture "In Progress"
Content-Length: 0

`},
	{Name: "quotbal", Section: "3.1.2.6", Answers: []int{400}, text: `INVITE sip:desk@example.net SIP/2.0
To: "Mr. J. Desk <sip:j.desk@example.net>
From: sip:caller@example.org;tag=93334
Max-Forwards: 10
Call-ID: {id}
Contact: <sip:caller@host59.example.org>
CSeq: 8 INVITE
Via: {via};{branch}
{sdp}`},
	{Name: "ltgtruri", Section: "3.1.2.7", Answers: []int{400}, text: `INVITE <sip:desk@example.net> SIP/2.0
To: sip:desk@example.net
From: sip:caller@example.org;tag=39291
Max-Forwards: 23
Call-ID: {id}
CSeq: 1 INVITE
Via: {via};{branch}
Contact: <sip:caller@host5.example.org>
{sdp}`},
	{Name: "lwsruri", Section: "3.1.2.8", Answers: []int{400}, text: `INVITE sip:desk@example.net; lr SIP/2.0
To: sip:desk@example.net;tag=3xfe-9921883-z9f
From: sip:caller@example.org;tag=231413434
Max-Forwards: 5
Call-ID: {id}
CSeq: 2130706432 INVITE
Via: {via};{branch}
Contact: <sip:caller@host1.example.org>
{sdp}`},
	{Name: "lwsstart", Section: "3.1.2.9", Answers: []int{400}, text: `INVITE  sip:desk@example.net  SIP/2.0
Max-Forwards: 8
To: sip:desk@example.net
From: sip:caller@example.org;tag=8814
Call-ID: {id}
CSeq: 1893884 INVITE
Via: {via};{branch}
Contact: <sip:caller@host1.example.org>
{sdp}`},
	{Name: "trws", Section: "3.1.2.10", Answers: []int{400}, text: "OPTIONS sip:remote-target@example.net SIP/2.0  \n" + `Via: {via};{branch}
To: <sip:remote-target@example.net>
From: <sip:local-resource@example.org>;tag=329429089
Call-ID: {id}
Max-Forwards: 70
CSeq: 238923 OPTIONS
Content-Length: 0

`},
	{Name: "escruri", Section: "3.1.2.11", Answers: append([]int{400}, understood...), text: `INVITE sip:desk@example.net?Route=%3Csip:example.net%3E SIP/2.0
To: sip:desk@example.net
From: sip:caller@example.org;tag=341518
Max-Forwards: 7
Contact: <sip:caller@host39923.example.org>
Call-ID: {id}
CSeq: 149209342 INVITE
Via: {via};{branch}
{sdp}`},
	{Name: "baddate", Section: "3.1.2.12", Answers: append([]int{400}, understood...), text: `INVITE sip:desk@example.net SIP/2.0
To: sip:desk@example.net
From: sip:caller@example.org;tag=2234923
Max-Forwards: 70
Call-ID: {id}
CSeq: 392942 INVITE
Via: {via};{branch}
Date: Fri, 01 Jan 2010 16:00:00 EST
Contact: <sip:caller@host5.example.org>
{sdp}`},
	{Name: "regbadct", Section: "3.1.2.13", Answers: []int{400}, text: `REGISTER sip:example.net SIP/2.0
To: sip:desk@example.net
From: sip:desk@example.net;tag=998332
Max-Forwards: 70
Call-ID: {id}
CSeq: 1 REGISTER
Via: {via};{branch}
Contact: sip:desk@example.net?Route=%3Csip:sip.example.net%3E
l: 0

`},
	{Name: "badaspec", Section: "3.1.2.14", Answers: []int{400, 200}, text: `OPTIONS sip:desk@example.net SIP/2.0
Via: {via};{branch}
Max-Forwards: 70
From: "Bell, Al" <sip:al.bell@example.org>;tag=433423
To: "Watt, Jim" < sip:j.watt@example.net >
Call-ID: {id}
CSeq: 3923239 OPTIONS
Content-Length: 0

`},
	{Name: "baddn", Section: "3.1.2.15", Answers: []int{400, 200}, text: `OPTIONS sip:j.desk@example.net SIP/2.0
Via: {via};{branch}
Max-Forwards: 70
From: Bell, Al <sip:al.bell@example.org>;tag=43
To: Watt, Jim <sip:j.watt@example.net>
Call-ID: {id}
CSeq: 3923239 OPTIONS
Content-Length: 0

`},
	{Name: "badvers", Section: "3.1.2.16", Answers: []int{505}, text: `OPTIONS sip:j.desk@example.net SIP/7.0
Via: SIP/7.0/UDP {sentby};{branch}
Max-Forwards: 70
From: A. Bell <sip:a.bell@example.org>;tag=qweoiqpe
To: J. Watt <sip:j.watt@example.net>
Call-ID: {id}
CSeq: 1 OPTIONS
l: 0

`},
	{Name: "mismatch01", Section: "3.1.2.17", Answers: []int{400}, text: `OPTIONS sip:desk@example.net SIP/2.0
To: sip:j.desk@example.net
From: sip:caller@example.org;tag=34525
Max-Forwards: 6
Call-ID: {id}
CSeq: 8 INVITE
Via: {via};{branch}
l: 0

`},
	{Name: "mismatch02", Section: "3.1.2.18", Answers: []int{400, 405, 501}, text: `NEWMETHOD sip:desk@example.net SIP/2.0
To: sip:j.desk@example.net
From: sip:caller@example.org;tag=34525
Max-Forwards: 6
Call-ID: {id}
CSeq: 8 INVITE
Contact: <sip:caller@host.example.org>
Via: {via};{branch}
{sdp}`},
	{Name: "bigcode", Section: "3.1.2.19", text: `SIP/2.0 4294967301 better not break the receiver
Via: {via};{branch}
CSeq: 353494 INVITE
Call-ID: {id}
From: <sip:user@example.net>;tag=39ansfi3
To: <sip:user@example.org>;tag=902jndnke3
Content-Length: 0
Contact: <sip:user@host105.example.net>

`},
	{Name: "badbranch", Section: "3.2.1", Answers: []int{400, 200}, text: `OPTIONS sip:desk@example.net SIP/2.0
To: sip:desk@example.net
From: sip:caller@example.org;tag=33242
Max-Forwards: 3
Via: {via};branch=z9hG4bK
Accept: application/sdp
Call-ID: {id}
CSeq: 8 OPTIONS
l: 0

`},
	{Name: "insuf", Section: "3.3.1", Answers: []int{400}, text: `INVITE sip:desk@example.net SIP/2.0
CSeq: 193942 INVITE
Via: {via};{branch}
{sdp}`},
	{Name: "unkscm", Section: "3.3.2", Answers: []int{416}, text: `OPTIONS noSchemeThatAnybodyKnows:opaque SIP/2.0
To: sip:desk@example.net
From: sip:caller@example.org;tag=384
Max-Forwards: 3
Call-ID: {id}
CSeq: 3923423 OPTIONS
Via: {via};{branch}
Content-Length: 0

`},
	{Name: "novelsc", Section: "3.3.3", Answers: []int{416}, text: `OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0
To: sip:desk@example.net
From: sip:caller@example.org;tag=384
Max-Forwards: 3
Call-ID: {id}
CSeq: 3923423 OPTIONS
Via: {via};{branch}
Content-Length: 0

`},
	{Name: "unksm2", Section: "3.3.4", Answers: []int{400}, text: `REGISTER sip:example.net SIP/2.0
To: isbn:2983792873
From: <http://www.example.org>;tag=3234233
Call-ID: {id}
CSeq: 234902 REGISTER
Max-Forwards: 70
Via: {via};{branch}
Contact: <name:John_Smith>
l: 0

`},
	{Name: "bext01", Section: "3.3.5", Answers: []int{420}, text: `OPTIONS sip:desk@example.net SIP/2.0
To: sip:j_desk@example.net
From: sip:caller@example.org;tag=242etr
Max-Forwards: 6
Call-ID: {id}
Require: nobodyHasThis, norThisOne
Proxy-Require: noProxyHasThis, norThisOneEither
CSeq: 8 OPTIONS
Via: {via};{branch}
Content-Length: 0

`},
	{Name: "invut", Section: "3.3.6", Answers: []int{415}, text: "INVITE sip:desk@example.net SIP/2.0\nContact: <sip:caller@host5.example.org>\nTo: sip:j.desk@example.net\n" +
		"From: sip:caller@example.org;tag=8392034\nMax-Forwards: 70\nCall-ID: {id}\nCSeq: 235448 INVITE\nVia: {via};{branch}\n" +
		"Content-Type: application/unknownformat\nContent-Length: {bodylength}\n\n<audio port=\"443\"/>"},
	{Name: "regaut01", Section: "3.3.7", Answers: []int{404}, Unanswered: "example.net is none of our domains, and the registrar says so before it asks for credentials", text: `REGISTER sip:example.net SIP/2.0
To: sip:j.desk@example.net
From: sip:j.desk@example.net;tag=87321hj23128
Max-Forwards: 8
Call-ID: {id}
CSeq: 9338 REGISTER
Via: {via};{branch}
Authorization: NoOneKnowsThisScheme opaque-data=here
Content-Length:0

`},
	{Name: "multi01", Section: "3.3.8", Answers: []int{400}, text: `INVITE sip:desk@example.net SIP/2.0
Contact: <sip:caller@host25.example.org>
Via: {via};{branch}
Max-Forwards: 70
CSeq: 5 INVITE
Call-ID: {id}
CSeq: 59 INVITE
Call-ID: {id}-other
From: sip:caller@example.org;tag=3413415
To: sip:desk@example.net
To: sip:other@example.net
From: sip:caller@example.net;tag=2923420123
Contact: <sip:caller@host36.example.org>
Max-Forwards: 5
{sdp}`},
	{Name: "mcl01", Section: "3.3.9", Answers: []int{400}, text: `OPTIONS sip:desk@example.net SIP/2.0
Via: {via};{branch}
To: sip:desk@example.net
From: sip:other@example.org;tag=3923942
Call-ID: {id}
CSeq: 15932 OPTIONS
Content-Length: 13
Max-Forwards: 60
Content-Length: 5
Content-Type: text/plain

How many octets are to be here?
`},
	{Name: "bcast", Section: "3.3.10", text: `SIP/2.0 200 OK
Via: {via};{branch}
Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23
Call-ID: {id}
CSeq: 35 INVITE
From: sip:user@example.net;tag=11141343
To: sip:user@example.org;tag=2229
Contact: <sip:user@host28.example.net>
{sdp}`},
	{Name: "zeromf", Section: "3.3.11", Answers: []int{483, 200}, text: `OPTIONS sip:desk@example.net SIP/2.0
To: sip:desk@example.net
From: sip:caller@example.org;tag=3ghsd41
Call-ID: {id}
CSeq: 39234321 OPTIONS
Via: {via};{branch}
Max-Forwards: 0
Content-Length: 0

`},
	{Name: "cparam01", Section: "3.3.12", Answers: []int{404}, Unanswered: "example.net is none of our domains, and the registrar says so", text: `REGISTER sip:example.net SIP/2.0
Via: {via};{branch}
Max-Forwards: 70
From: sip:watt@example.net;tag=DkfVgjkrtMwaerKKpe
To: sip:watt@example.net
Call-ID: {id}
CSeq: 2 REGISTER
Contact: sip:+15550102222@gw1.example.org;unknownparam
l: 0

`},
	{Name: "cparam02", Section: "3.3.13", Answers: []int{404}, Unanswered: "example.net is none of our domains, and the registrar says so", text: `REGISTER sip:example.net SIP/2.0
Via: {via};{branch}
Max-Forwards: 70
From: sip:watt@example.net;tag=838293
To: sip:watt@example.net
Call-ID: {id}
CSeq: 3 REGISTER
Contact: <sip:+15550102222@gw1.example.org;unknownparam>
l: 0

`},
	{Name: "regescrt", Section: "3.3.14", Answers: []int{404}, Unanswered: "example.net is none of our domains, and the registrar says so", text: `REGISTER sip:example.net SIP/2.0
To: sip:desk@example.net
From: sip:desk@example.net;tag=8
Max-Forwards: 70
Call-ID: {id}
CSeq: 14398234 REGISTER
Via: {via};{branch}
M: <sip:desk@example.net?Route=%3Csip:sip.example.net%3E>
L:0

`},
	{Name: "sdp01", Section: "3.3.15", Answers: []int{406}, text: `INVITE sip:desk@example.net SIP/2.0
To: sip:j_desk@example.net
Contact: <sip:caller@host15.example.org>
From: sip:caller@example.org;tag=234
Max-Forwards: 5
Call-ID: {id}
Accept: text/nobodyKnowsThis
CSeq: 8 INVITE
Via: {via};{branch}
{sdp}`},
	{Name: "inv2543", Section: "3.4.1", Answers: understood, OverTCP: append([]int{400}, understood...), text: `INVITE sip:BeaB@example.net SIP/2.0
Via: {via}
From: <sip:+15550101111@ift.client.example.org;user=phone>
Record-Route: <sip:BeaB@example.net;maddr=127.0.0.1>
To: sip:+15550102222@ss1.example.org;user=phone
Call-ID: {id}
CSeq: 56 INVITE
Content-Type: application/sdp

{body}`},
}

// RFC5118 are the ten cases of RFC 5118: IPv6.
var RFC5118 = []Case{
	{Name: "ipv6-good", Section: "4.1", Answers: []int{404, 200}, text: `REGISTER sip:[2001:db8::10] SIP/2.0
To: sip:desk@example.net
From: sip:desk@example.net;tag=81x2
Via: {via};{branch}
Call-ID: {id}
Max-Forwards: 70
Contact: "Caller" <sip:caller@[2001:db8::1]>
CSeq: 98176 REGISTER
Content-Length: 0

`},
	{Name: "ipv6-bad", Section: "4.2", Answers: []int{400}, text: `REGISTER sip:2001:db8::10 SIP/2.0
To: sip:desk@example.net
From: sip:desk@example.net;tag=81x2
Via: {via};{branch}
Call-ID: {id}
Max-Forwards: 70
Contact: "Caller" <sip:caller@[2001:db8::1]>
CSeq: 98176 REGISTER
Content-Length: 0

`},
	{Name: "port-ambiguous", Section: "4.3", Answers: []int{404, 200}, text: `REGISTER sip:[2001:db8::10:5070] SIP/2.0
To: sip:desk@example.net
From: sip:desk@example.net;tag=81x2
Via: {via};{branch}
Call-ID: {id}
Contact: "Caller" <sip:caller@[2001:db8::1]>
Max-Forwards: 70
CSeq: 98176 REGISTER
Content-Length: 0

`},
	{Name: "port-unambiguous", Section: "4.4", Answers: []int{404, 200}, text: `REGISTER sip:[2001:db8::10]:5070 SIP/2.0
To: sip:desk@example.net
From: sip:desk@example.net;tag=81x2
Via: {via};{branch}
Call-ID: {id}
Contact: "Caller" <sip:caller@[2001:db8::1]>
Max-Forwards: 70
CSeq: 98176 REGISTER
Content-Length: 0

`},
	{Name: "via-received-param", Section: "4.5", Answers: []int{200, 481}, text: `OPTIONS sip:[2001:db8::10] SIP/2.0
To: sip:desk@example.net
From: sip:desk@example.org;tag=81x2
Via: {via};{branch}
Via: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111
Via: SIP/2.0/UDP [2001:db8::9:2];received=2001:db8::9:256;branch=z9hG4bKas3-112
Call-ID: {id}
Max-Forwards: 70
CSeq: 98176 OPTIONS
Content-Length: 0

`},
	{Name: "ipv6-in-sdp", Section: "4.6", Answers: understood, text: "INVITE sip:desk@[2001:db8::10] SIP/2.0\nTo: sip:desk@[2001:db8::10]\nFrom: sip:desk@example.org;tag=81x2\n" +
		"Via: {via};{branch}\nCall-ID: {id}\nContact: \"Caller\" <sip:caller@[2001:db8::1]>\nCSeq: 8612 INVITE\nMax-Forwards: 70\n" +
		"Content-Type: application/sdp\nContent-Length: {bodylength}\n\nv=0\no=assistant 9871 9871 IN IP6 2001:db8::20\ns=-\nc=IN IP6 2001:db8::20\nt=0 0\nm=audio 6000 RTP/AVP 0 8\n"},
	{Name: "mult-ip-in-header", Section: "4.7", Answers: []int{481}, text: `BYE sip:user@host.example.org SIP/2.0
Via: {via};{branch}
Via: SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144
Via: SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200
Call-ID: {id}
Max-Forwards: 67
CSeq: 10 BYE
Contact: <sip:caller@[2001:db8::1]>
From: sip:desk@example.net;tag=81x2
To: sip:user@example.org;tag=bd76ya
Content-Length: 0

`},
	{Name: "mult-ip-in-sdp", Section: "4.8", Answers: understood, text: "INVITE sip:desk@[2001:db8::10] SIP/2.0\nTo: sip:desk@[2001:db8::10]\nFrom: sip:desk@example.org;tag=81x2\n" +
		"Via: {via};{branch}\nCall-ID: {id}\nContact: \"Caller\" <sip:caller@[2001:db8::1]>\nCSeq: 8912 INVITE\nMax-Forwards: 70\n" +
		"Content-Type: application/sdp\nContent-Length: {bodylength}\n\nv=0\no=bob 280744730 28977631 IN IP4 host.example.org\ns=-\nt=0 0\nm=audio 22334 RTP/AVP 0\nc=IN IP4 192.0.2.1\nm=video 6024 RTP/AVP 107\nc=IN IP6 2001:db8::1\na=rtpmap:107 H263-1998/90000\n"},
	{Name: "ipv4-mapped-ipv6", Section: "4.9", Answers: understood, text: "INVITE sip:desk@example.net SIP/2.0\nVia: {via};{branch}\nVia: SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19\n" +
		"Via: SIP/2.0/UDP [::ffff:192.0.2.2];branch=z9hG4bKas3-111\nContact: \"T. desk\" <sip:t.desk@[::ffff:192.0.2.10]:19823>\nCSeq: 612 INVITE\n" +
		"From: d.digger <sip:d.digger@example.org>;tag=bd76ya\nTo: <sip:user@example.net>\nCall-ID: {id}\nMax-Forwards: 70\n" +
		"Content-Type: application/sdp\nContent-Length: {bodylength}\n\nv=0\no=rjs 192885 192885 IN IP6 ::ffff:192.0.2.10\ns=-\nc=IN IP6 ::ffff:192.0.2.10\nt=0 0\nm=audio 6000 RTP/AVP 0\na=sendrecv\n"},
	{Name: "ipv6-bug-abnf-3-colons", Section: "4.10", Answers: []int{200, 400}, text: `OPTIONS sip:user@[2001:db8:::192.0.2.1] SIP/2.0
To: sip:user@[2001:db8:::192.0.2.1]
From: sip:user@example.org;tag=810x2
Via: {via};{branch}
Call-ID: {id}
CSeq: 98176 OPTIONS
Max-Forwards: 70
Content-Length: 0

`},
}
