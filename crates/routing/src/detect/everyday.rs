//! Everyday requests that must stay public, and what is told of persons that must not: both invented for this test.

use super::tests::{assert_clean, assert_finds};
use super::{Detectors, Kind};

/// Requests of the kind that people put to assistants all day, with what looks like personal data and is none.
const PUBLIC: &[&str] = &[
    "Write a poem about the sea in the style of Emily Dickinson.",
    "Who was Marie Curie and what did she discover?",
    "Summarize the plot of Harry Potter and the Philosopher's Stone.",
    "Compare the theories of Sigmund Freud and Carl Jung.",
    "Explain Albert Einstein's theory of relativity to a ten year old.",
    "What did Abraham Lincoln say at Gettysburg?",
    "List five inventions of Nikola Tesla.",
    "Write a speech in the manner of Winston Churchill.",
    "Which paintings by Vincent van Gogh hang in Amsterdam?",
    "How did Alexander Fleming discover penicillin?",
    "Give me a quote by Oscar Wilde about friendship.",
    "Was Sherlock Holmes a real person?",
    "Describe the political career of Barack Obama in two sentences.",
    "Make a table of Shakespeare's tragedies with the year of each.",
    "Plan a three-day trip to New York with a visit to Central Park.",
    "What is the best time of the year to visit Costa Rica?",
    "Compare life in Los Angeles and San Francisco.",
    "Which rivers flow through Baden Baden and Frankfurt?",
    "Is Mount Everest higher than Mont Blanc?",
    "Name three museums near the Brandenburg Gate.",
    "What should I see in Buenos Aires, Rio de Janeiro and Santiago de Chile?",
    "Write a product description for an Apple MacBook Pro.",
    "How does Goldman Sachs earn its money?",
    "Compare Microsoft Azure, Google Cloud and Amazon Web Services.",
    "What is the difference between Burger King and Burger Queen?",
    "Draft a press release for a company that makes solar panels.",
    "Why did Lehman Brothers fail in 2008?",
    "What happened on 9 November 1989 in Berlin?",
    "How many days lie between 2024-02-11 and 2024-12-25?",
    "The meeting is on Monday, 14 July 2025 at 10:30. Write an invitation.",
    "In 1969 three people flew to the moon. Who stayed in the capsule?",
    "What is 15 % of 2,480.50?",
    "Add 4,519 and 12,093 and divide the sum by 7.",
    "Sort these numbers: 43, 12, 9, 103, 77, 2, 65, 18.",
    "Is 1000003 a prime number?",
    "The first digits of pi are 3.14159265358979323846.",
    "What does HTTP status 503 mean, and how does it differ from 404?",
    "Does Python 3.12.4 have a faster interpreter than 3.10.14?",
    "Upgrade the library from version 2.14.0.1 to 3.0.0.",
    "Find the book with ISBN 978-3-16-148410-0.",
    "The laptop costs $1,299.99 and the case 49.90 EUR. What do both cost?",
    "for (int i = 0; i < 10; i++) { sum += values[i]; }",
    "fn main() { println!(\"{}\", std::env::args().count()); }",
    "SELECT name, COUNT(*) FROM orders WHERE year = 2023 GROUP BY name;",
    "Why does `git rebase --onto main 3f2a9c1d feature` fail?",
    "Write a regular expression for dates such as 2024-01-31.",
    "Explain Dijkstra's algorithm and Markov chains.",
    "Prove Fermat's little theorem. Use Euler's function.",
    "What does the Kolmogorov-Smirnov test measure?",
    "If Tom has 5 apples and gives 2 to Anna, how many are left?",
    "Alice, Bob, Carol and Dave sit in a row. Who sits next to Bob?",
    "Maria's train leaves at 9:15 and takes 95 minutes. When does she arrive?",
    "John is twice as old as his brother Peter. How old are they?",
    "Write a story about a dragon named Max who likes cake.",
    "Suggest ten names for a black cat.",
    "Also, can you make it shorter?",
    "Finally, could you translate it into French?",
    "Computer, can you tell me a joke?",
    "Write an email to my team about the summer party.",
    "Write a polite reply to a customer whose parcel is late.",
    "Draft a cover letter for a job as a software engineer.",
    "Make a shopping list for pancakes for six people.",
    "What is a good substitute for eggs in a cake?",
    "Recommend a movie like The Lord of the Rings.",
    "Classify the sentence as positive, negative or neutral.",
    "Translate 'Good morning, how are you?' into Spanish, German and Italian.",
    "Rewrite the following paragraph in the passive voice.",
    "What are the symptoms of the flu, and when should one see a doctor?",
    "Explain how a credit card works and what the three digits on the back are for.",
    "How do I choose a strong password, and how often should I change it?",
    "What is an IP address? What is 127.0.0.1 for?",
    "What is an IBAN and how long is it in Germany?",
    "What does a medical record contain, in general?",
    "How do I write an address on an envelope to the United States?",
    "Which street is longer, the Champs-Élysées or Unter den Linden?",
    "How far is it from the Earth to the Moon in miles?",
    "Give me the phone number format that is used in France.",
    "What is the world record in the 100 m sprint?",
    "Which team won the World Cup in 1998?",
    "The Russell Group, the Henry Moore Foundation and the Max Planck Institute: what do they do?",
    "A quote: \"Less is more,\" says the architect. What does it mean?",
    "Why is coffee so popular, and why is tea very old?",
];

#[test]
fn everyday_requests_stay_public() {
    assert!(PUBLIC.len() >= 60);
    assert_clean(PUBLIC);
}

#[test]
fn full_names_of_many_languages_are_found() {
    let names = [
        "Warrane Gallagher",
        "Aoife Brennan",
        "Ottilie Seifert",
        "Reinhard Oberhuber",
        "Ghislaine Rousselot",
        "Jean Delattre",
        "Ermenegildo Bianchini",
        "Fiammetta Colombo",
        "Inés Etxebarria",
        "Rogelio Camacho",
        "Joaquim Figueiredo",
        "Maaike Terpstra",
        "Oddvar Halvorsen",
        "Sirpa Virtanen",
        "Zdzisław Wieczorek",
        "Květa Procházková",
        "Boglárka Juhász",
        "Zvonimir Babić",
        "Crenguța Munteanu",
        "Gökhan Yıldırım",
        "Venkatesh Subramanian",
        "Gurpreet Dhillon",
        "Agus Setiawan",
        "Nomvula Dlamini",
        "Otieno Odhiambo",
        "Ngozi Okonkwo",
        "Takumi Nakamura",
        "Xiulan Zhang",
        "Yitzhak Mizrahi",
        "Samir Haddad",
    ];
    for name in names {
        assert_finds(Kind::PersonName, &[&format!("the offer that {name} sent us last week")]);
    }
}

#[test]
fn a_lone_name_counts_where_a_person_is_spoken_of() {
    assert_finds(
        Kind::PersonName,
        &[
            "Ottilie is very unreliable, can we let her go?",
            "Why is Rogelio so rude to customers?",
            "the diagnosis of sirpa must not get out",
            "Maaike works for Initech",
            "maaike is from initech gmbh",
            "We are all waiting, Gökhan!",
            "Nomvula, could you send me the report?",
            "\"We shall see,\" says Etxebarria.",
            "hello, i'm rogelio's brother",
            "ask zvonimir babic for the keys",
            "On the course: Sirpa, Inés, Gökhan, Samir and Ngozi.",
        ],
    );
    assert_clean(&[
        "Ottilie has 12 pears and eats 3.",
        "the age of Sirpa is twice that of Samir",
        "Which of them is right: Sirpa, Inés or Samir?",
        "\"We shall see,\" said Samir, and the fox laughed.",
    ]);
}

#[test]
fn a_public_name_is_a_person_s_where_it_is_introduced() {
    assert_finds(Kind::PersonName, &["my name is jane austen", "Dear Mr. Darwin,", "patient Charles Darwin"]);
    assert_clean(&["When did Charles Darwin sail on the Beagle?"]);
}

/// A text that makes every rule about names look as far as it can must not take longer for each of its words.
#[test]
fn long_lists_and_chains_of_names_are_scanned_in_bounded_steps() {
    for part in ["Irene, ", "irene ", "says \"", "Irene is ", "of irene ", "I'm Irene's ", "m'"] {
        Detectors::shared().scan(&part.repeat(20_000));
    }
}
