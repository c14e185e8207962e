package phone_test

import (
	"context"
	"fmt"
	"time"

	"github.com/offhook/offhook/phone"
)

// Two phones, one call: a menu that wants a key.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	menu, err := phone.Listen(ctx, phone.Config{Number: "+15550199", OnCall: func(c *phone.Call) {
		if c.Ring() != nil || c.Answer() != nil || c.Play(ctx, phone.Tone(300*time.Millisecond, 440)) != nil {
			return
		}
		if err := c.WaitDigits(ctx, "12#"); err != nil {
			fmt.Println(err)
		}
		_ = c.Play(ctx, phone.Tone(300*time.Millisecond, 600)) // goodbye; the call ends with this function
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer menu.Close()

	caller, err := phone.Listen(ctx, phone.Config{Number: "+15550100"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer caller.Close()

	line, err := caller.Dial(ctx, menu.URI())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("answered:", line.WaitAnswered(ctx) == nil)
	fmt.Println("heard 440 Hz:", line.WaitTone(ctx, 440) == nil)
	fmt.Println("pressed:", line.Press(ctx, "12#") == nil)
	<-line.HungUp()
	end, _ := line.End()
	fmt.Println(end)
	// Output:
	// answered: true
	// heard 440 Hz: true
	// pressed: true
	// ended by the far end: 200 BYE
}

// A script does on one call what a person would.
func ExampleCall_Run() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	sim, err := phone.NewSimulator(ctx, phone.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sim.Close()
	caller, err := phone.Listen(ctx, phone.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer caller.Close()

	script, err := phone.ParseScript("wait answer; hear 100ms; say I am fine; hear silence 500ms; hangup")
	if err != nil {
		fmt.Println(err)
		return
	}
	person, err := caller.Dial(ctx, "sip:+15005551001@"+sim.Addr())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("script failed:", person.Run(ctx, script))
	// Output: script failed: <nil>
}

func ExampleParseScript() {
	s, err := phone.ParseScript("ring 1s; answer\nsay Hello; press 12#; hangup")
	fmt.Println(s, err)
	_, err = phone.ParseScript("answer; wait a minute")
	fmt.Println(err)
	// Output:
	// ring 1s; answer; say "Hello"; press 12#; hangup <nil>
	// phone script: line 1, column 14: "a" is not a duration; write 500ms or 2s
}

func ExampleNumbers() {
	for _, n := range phone.Numbers()[:3] {
		fmt.Println(n.Number, n.Description)
	}
	// Output:
	// +15005551001 a person: says a short hello, then listens
	// +15005551002 voicemail: greeting, beep, records
	// +15005551003 voicemail without a beep
}
