package twiliocall

// CreateCall asks for an outbound call. From, To and one of URL, Twiml and ApplicationSID are required; what is left out has
// the default of the Calls API. Its JSON names are the CreateCall parameters of that API in camelCase.
type CreateCall struct {
	From string `json:"from,omitempty" doc:"Who calls: a number in E.164 form, or client: identity, SIP user name or URI when To is one. Required."`
	To   string `json:"to,omitempty" doc:"Who is called: a number in E.164 form, sip:user@host or client:identity. Required."`

	URL            string `json:"url,omitempty" doc:"Where the TwiML is; one of url, twiml and applicationSid is required, url wins over twiml."`
	Method         string `json:"method,omitempty" doc:"GET or POST (default): how url is requested."`
	Twiml          string `json:"twiml,omitempty" doc:"The TwiML itself, at most 4,000 characters."`
	FallbackURL    string `json:"fallbackUrl,omitempty" doc:"Requested when the TwiML cannot be had or run."`
	FallbackMethod string `json:"fallbackMethod,omitempty" doc:"GET or POST (default)."`
	ApplicationSID string `json:"applicationSid,omitempty" doc:"AP… of the application whose URLs and status callback count, instead of url, twiml, method, fallbackUrl, fallbackMethod, statusCallback and its companions."`

	StatusCallback       string   `json:"statusCallback,omitempty" doc:"Told how the call goes, as form parameters."`
	StatusCallbackMethod string   `json:"statusCallbackMethod,omitempty" doc:"GET or POST (default)."`
	StatusCallbackEvent  []string `json:"statusCallbackEvent,omitempty" doc:"initiated, ringing, answered, completed (default: completed)."`

	Timeout         int    `json:"timeout,omitempty" doc:"Seconds to ring at most: 1 to 600, default 60."`
	TimeLimit       int    `json:"timeLimit,omitempty" doc:"Seconds from the answer to the end at most: 1 to 14400, the default."`
	SendDigits      string `json:"sendDigits,omitempty" doc:"Keys to press after the answer: 0-9 A-D # *, w waits half a second, W a second; at most 32."`
	CallerID        string `json:"callerId,omitempty" doc:"Presented instead of from."`
	CallReason      string `json:"callReason,omitempty" doc:"Told to the called party, at most 50 characters."`
	Byoc            string `json:"byoc,omitempty" doc:"BY… of the trunk that a call to a number takes."`
	CallToken       string `json:"callToken,omitempty" doc:"CallToken of an inbound call that this one forwards: its caller may be presented."`
	SIPAuthUsername string `json:"sipAuthUsername,omitempty"`
	SIPAuthPassword string `json:"sipAuthPassword,omitempty"`

	ClientNotificationURL string `json:"clientNotificationUrl,omitempty" doc:"Asked, by POST, to wake the phones of a client: identity, which then have until the end of timeout to register."`

	Record                        bool     `json:"record,omitempty" doc:"Record the whole call."`
	RecordingChannels             string   `json:"recordingChannels,omitempty" doc:"mono (default) or dual."`
	RecordingTrack                string   `json:"recordingTrack,omitempty" doc:"inbound, outbound or both (default)."`
	RecordingStatusCallback       string   `json:"recordingStatusCallback,omitempty"`
	RecordingStatusCallbackMethod string   `json:"recordingStatusCallbackMethod,omitempty" doc:"GET or POST (default)."`
	RecordingStatusCallbackEvent  []string `json:"recordingStatusCallbackEvent,omitempty" doc:"in-progress, completed (default), absent."`
	Trim                          string   `json:"trim,omitempty" doc:"trim-silence (default) or do-not-trim."`

	MachineDetection                   string `json:"machineDetection,omitempty" doc:"Enable or DetectMessageEnd; left out, nobody asks whether a machine answered."`
	MachineDetectionTimeout            int    `json:"machineDetectionTimeout,omitempty" doc:"Seconds until it is given up: 3 to 59, default 30."`
	MachineDetectionSpeechThreshold    int    `json:"machineDetectionSpeechThreshold,omitempty" doc:"Milliseconds of speech beyond which a machine talks: 1000 to 6000, default 2400."`
	MachineDetectionSpeechEndThreshold int    `json:"machineDetectionSpeechEndThreshold,omitempty" doc:"Milliseconds of silence that end the speech: 500 to 5000, default 1200."`
	MachineDetectionSilenceTimeout     int    `json:"machineDetectionSilenceTimeout,omitempty" doc:"Milliseconds of silence at first that end all: 2000 to 10000, default 5000."`
	AsyncAMD                           bool   `json:"asyncAmd,omitempty" doc:"The call goes on meanwhile; else its first instruction waits."`
	AsyncAMDStatusCallback             string `json:"asyncAmdStatusCallback,omitempty" doc:"Told who answered."`
	AsyncAMDStatusCallbackMethod       string `json:"asyncAmdStatusCallbackMethod,omitempty" doc:"GET or POST (default)."`

	Annotation string         `json:"annotation,omitempty" doc:"Free text, at most 1,024 characters."`
	Metadata   map[string]any `json:"metadata,omitempty" doc:"At most 50 keys of 1 to 40 characters; values are strings of at most 500 characters, numbers or booleans."`
}

// UpdateCall changes a call; what is nil stays as it is. Annotation and Metadata can be changed after its end too.
type UpdateCall struct {
	// Annotation: an empty one removes it.
	Annotation *string `json:"annotation,omitempty"`
	// Metadata is a merge patch (RFC 7396): a key whose value is nil is removed, others are set.
	Metadata map[string]any `json:"metadata,omitempty"`

	Status               string `json:"status,omitempty"`         // completed or canceled
	TimeLimit            int    `json:"timeLimit,omitempty"`      // seconds from the answer
	StatusCallback       string `json:"statusCallback,omitempty"` // counts its events from 0
	StatusCallbackMethod string `json:"statusCallbackMethod,omitempty"`
}

// Redirect gives a live call another document: one of URL and Twiml.
type Redirect struct {
	URL            string `json:"url,omitempty" doc:"Where the TwiML is."`
	Method         string `json:"method,omitempty" doc:"GET or POST (default)."`
	Twiml          string `json:"twiml,omitempty" doc:"The TwiML itself, at most 4,000 characters."`
	FallbackURL    string `json:"fallbackUrl,omitempty" doc:"Requested when the TwiML cannot be had or run."`
	FallbackMethod string `json:"fallbackMethod,omitempty" doc:"GET or POST (default)."`
}

// RecordingConfig is how a recording is made; the zero value records both tracks into one channel.
type RecordingConfig struct {
	Channels             string   `json:"channels,omitempty" doc:"mono (default) or dual: the party first, then what it hears."`
	Track                string   `json:"track,omitempty" doc:"inbound (what the party says), outbound or both (default)."`
	Trim                 string   `json:"trim,omitempty" doc:"do-not-trim (default) or trim-silence."`
	MaxLength            int      `json:"maxLength,omitempty" minimum:"1" doc:"Seconds after which the recording ends; default: with the call."`
	PlayBeep             bool     `json:"playBeep,omitempty" doc:"The party hears a beep first."`
	StatusCallback       string   `json:"statusCallback,omitempty"`
	StatusCallbackMethod string   `json:"statusCallbackMethod,omitempty" doc:"GET or POST (default)."`
	StatusCallbackEvent  []string `json:"statusCallbackEvent,omitempty" doc:"in-progress, completed (default), absent."`
}

// Filter selects calls; what is zero does not restrict.
type Filter struct {
	From, To      string
	Status        []string
	Direction     string
	ParentCallSID string
	AnsweredBy    string // human, machine, fax or unknown
	// Times as Unix seconds or RFC 3339; after is inclusive, before is not.
	StartTimeAfter, StartTimeBefore string
	EndTimeAfter, EndTimeBefore     string
	Metadata                        map[string]string // a key's value as text
	Limit                           int               // calls a page, 1 to 1,000; default 50
}

// Problem is an error of the API (RFC 9457) with the code of Twilio's catalogue.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"` // HTTP
	Detail string `json:"detail"`
	Code   int    `json:"code"` // e.g. 21220; https://www.twilio.com/docs/api/errors
}

func (p *Problem) Error() string { return p.Detail }
