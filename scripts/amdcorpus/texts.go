package main

// What is said. Every fourth text of a list is kept for the files that are scored.
var (
	hellos = []string{
		"Hello?", "Hello.", "Hi.", "Hello, who is this?", "Yes?", "Yeah, hello?", "Hello, this is Anna.", "Speaking.",
		"Peter Brown.", "Hi, John here.", "Good morning.", "Hello there.", "Yep.", "Smith residence.", "Hey, what's up?", "Hello, Mary speaking.",
		"This is Dave.", "Good afternoon.", "Hi there, who's calling?", "Johnson.", "Yes, hello.", "Hello, Karen here.", "Can I help you?", "Hey.",
	}
	hellosAbroad = map[string][]string{
		"de":    {"Hallo?", "Ja bitte?", "Müller.", "Guten Tag, Schmidt."},
		"fr-fr": {"Allô?", "Oui, bonjour.", "Oui, allô?", "Allô, qui est là?"},
		"es":    {"¿Diga?", "Hola.", "¿Sí?", "¿Bueno, quién habla?"},
		"it":    {"Pronto?", "Sì, pronto.", "Pronto, chi parla?", "Sì?"},
		"nl":    {"Hallo?", "Met Jan.", "Goedemorgen.", "Met de familie Bakker."},
	}
	longHellos = []string{
		"Good morning, Acme Dental, this is Kate.", "Thanks for calling Joe's Garage.", "Hello, you are speaking with Martin.", "Front desk, how can I help you?",
		"Good afternoon, Miller and Sons.", "Hello, this is the Johnson residence.", "Sales department, Linda speaking.", "Hi, this is Robert, who is calling?",
		"City library, good morning.", "Hello, yes, this is she speaking.", "Hi, sorry, I was just outside.", "Green Valley Farm, Tom speaking.",
		"Good evening, Luigi's pizza.", "Yes, hello, can you hear me?", "Hold on one second, please.", "Doctor Weber's office, good morning.",
	}
	businessHellos = []string{
		"Good morning, thank you for calling Northwind Traders, you are speaking with Maria, how may I help you today?",
		"Thank you for calling the Grand Hotel, this is the front desk, how can I direct your call?",
		"Hello and welcome to City Cabs, my name is Steve, where can we pick you up?",
		"Good afternoon, this is Weber and Partners, you are speaking with Claire, what can I do for you?",
	}
	// A voicemail's greeting is some openings, then some endings.
	openings = []string{
		"You have reached the voicemail of Sam Carter.", "Hi, you've reached Jenny and Paul.", "Hello, this is Michael.", "You have reached five five five, oh one two three.",
		"The person you are calling is not available.", "Thank you for calling Acme Dental.", "Your call has been forwarded to an automatic voice message system.", "Hi, this is Lisa, sorry I missed you.",
		"You're through to the answering machine of the Brown family.", "This is Doctor Weber's practice.", "The subscriber you have dialed is not able to take your call.", "Hey, it's Mark, you know what to do.",
		"Welcome to the mailbox of Katherine Jones.", "Our office is closed at the moment.", "Hello, you have called Northwind Traders.", "Good day, this is the voicemail of the sales department.",
	}
	middles = []string{
		"I can't take your call right now.", "We are not at home at the moment.", "I am either on the phone or away from my desk.", "Nobody is here to answer your call.",
		"All of our agents are busy.", "Our opening hours are Monday to Friday from nine to five.", "If this is an emergency, please dial nine one one.", "I am on holiday until the end of the month.",
		"Your call is important to us.", "I will be back in the office on Tuesday.", "We are helping other customers.", "You can also send me a text message.",
	}
	endings = []string{
		"Please leave a message after the tone.", "Leave your name and number and I will call you back.", "At the tone, please record your message.", "Please leave a message.",
		"When you have finished recording, you may hang up.", "Leave a message and have a great day.", "Please speak after the beep.", "Thank you, and good bye.",
		"Record your message after the signal.", "I'll get back to you as soon as I can.", "Please try again later.", "Talk to you soon.",
	}
	shortGreetings  = []string{"Leave a message.", "It's Mark, leave a message.", "Not here, leave a message.", "Speak after the beep.", "Sorry, not here.", "Please leave a message.", "Jenny here, after the tone.", "You know what to do."}
	greetingsAbroad = map[string][]string{
		"de":    {"Guten Tag, Sie sind verbunden mit dem Anschluss der Familie Müller. Bitte hinterlassen Sie eine Nachricht nach dem Signalton.", "Der gewünschte Gesprächspartner ist zur Zeit nicht erreichbar.", "Hier ist die Mailbox von Anna Schmidt. Ich rufe zurück.", "Leider rufen Sie außerhalb unserer Geschäftszeiten an. Bitte sprechen Sie nach dem Ton."},
		"fr-fr": {"Bonjour, vous êtes bien sur la messagerie de Paul Martin. Laissez un message après le signal sonore.", "La personne que vous appelez n'est pas disponible pour le moment.", "Nous ne pouvons pas vous répondre. Merci de laisser vos coordonnées.", "Bienvenue chez Durand. Nos bureaux sont fermés, veuillez rappeler plus tard."},
		"es":    {"Ha llamado al buzón de voz de Carlos García. Deje su mensaje después de la señal.", "El teléfono al que llama está apagado o fuera de cobertura.", "Ahora no puedo atenderle. Deje un mensaje y le llamaré.", "Gracias por llamar. Nuestro horario es de nueve a cinco. Deje su nombre y su número."},
	}
	announcements = []string{
		"The number you have dialed is not in service. Please check the number and dial again.", "We're sorry, your call cannot be completed as dialed.", "All circuits are busy now. Please try your call again later.", "The number you have reached has been disconnected. No further information is available.",
	}
	menus = []string{
		"Thank you for calling Northwind Traders. Please hold for the next available agent.", "Welcome to Acme Bank. For your balance, press one. For anything else, please stay on the line.",
		"Your call may be recorded. One moment please, while I connect you.", "Welcome. All of our agents are busy. Your call will be answered in the order it was received.",
	}
)

// espeakVoices are English ones; those with spare are scored only.
var (
	espeakAccents = []string{"en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-us-nyc", "en-029", "en-gb-x-gbclan", "en-gb-x-gbcwmd"}
	espeakTune    = []string{"f1", "f2", "f3", "m1", "m2", "m3", "m4", "m7", "anika", "linda", "max", "michael", "paul", "adam", "klatt2", "belinda"}
	espeakScore   = []string{"f4", "f5", "m5", "m6", "m8", "steph", "victor", "klatt4"}
)
