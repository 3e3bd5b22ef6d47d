//! Common first names of many languages, without diacritics, for the detector of person names.

use std::collections::HashSet;

/// Popular names by language, as any list of the most frequent ones has them. Names that are everyday words or
/// places first (Will, May, Grant, Rose, Jordan, Paris, Florence, Virginia, …) are left out.
const NAMES: &str = "
james john robert michael william david richard joseph thomas charles christopher daniel matthew anthony donald
steven paul andrew joshua kenneth kevin brian george edward ronald timothy jason jeffrey ryan jacob gary nicholas
eric jonathan stephen larry justin scott brandon benjamin samuel gregory frank alexander raymond patrick jack dennis
jerry tyler aaron jose adam henry nathan douglas zachary peter kyle walter ethan jeremy harold keith roger noah
gerald carl terry sean arthur lawrence jesse dylan bryan joe billy bruce albert willie gabriel logan alan juan wayne
roy ralph randy eugene vincent russell louis philip bobby johnny bradley fred dwayne craig darren derek dexter ewan
stuart simon neil ian graham colin trevor nigel barry clive gareth liam connor declan callum fraser harvey oliver
harry oscar theo theodore leo archie alfie toby jamie lewis elliot owen rhys shane danny mike matt chris steve dave
tony jim tom bob ben sam nick greg jeff ken dan rick ron tim andy alex max luke mark evan cody codey chad brett
mary patricia jennifer linda elizabeth barbara susan jessica sarah karen lisa nancy betty margaret sandra ashley
kimberly emily donna michelle carol amanda melissa deborah stephanie rebecca sharon laura cynthia kathleen amy
angela shirley anna brenda pamela emma nicole helen samantha katherine christine debra rachel carolyn janet
catherine maria heather diane ruth julie olivia joyce virginie kelly lauren christina joan evelyn judith megan
andrea cheryl hannah jacqueline martha gloria teresa ann sara madison kathryn janice jean abigail alice julia judy
sophia denise amber doris marilyn danielle beverly isabella theresa diana natalie brittany marie kayla alexis lori
tiffany kristen roxanne sheila sherry terri jodi naomi caitlin chloe zoe zoey lucy molly ella ellie erin leah
thelma misty bryce melvin fletcher terrence terence derrick steffen kristian cora bertram selma celina leif alva
roman ashton caleb isaac elijah eli miles warren felicia bernadette cecilia regina veronica cecil clifford
cindy wendy tracy tina tara stacy sally robin penny peggy paula nora nina monica mia melanie marisa lydia lily
lillian lena leslie kate katie karla josephine jill jenny jane irene holly hilary gwen gina gemma fiona esther
elaine eleanor edith deirdre dawn daisy colleen clara claire charlotte cathy carmen bonnie bethany beth audrey
anne annie anita alison alicia imogen tilly maya sophie phoebe poppy freya niamh siobhan
hans peter klaus jurgen wolfgang stefan stephan uwe dieter manfred horst heinz gerhard helmut bernd rainer ralf
jens kai lars sven torsten thorsten matthias markus lukas felix jonas tobias florian sebastian philipp fabian
moritz niklas dirk frank ulrich heinrich friedrich ludwig otto karl kurt ernst gunther werner walther konrad
ursula monika petra sabine renate helga karin brigitte ingrid erika gisela gabriele susanne martina heike kerstin
anja katja katrin katrine silke birgit claudia anke ute jutta elke heidi lea lena hanna johanna greta frieda
leonie lina mila marlene antje svenja franziska vanessa
pierre jean michel andre philippe alain bernard jacques daniel gerard christophe nicolas laurent julien thierry
olivier sebastien francois antoine guillaume mathieu maxime thibault lucas hugo louis raphael gaspard baptiste
etienne yves yannick pascal benoit aurelien remi didier gilles marcel rene lucien emile
nathalie isabelle sylvie catherine francoise valerie sandrine veronique celine chantal brigitte camille manon
chloe lea ines juliette margaux mathilde aurelie elodie emilie amelie helene monique genevieve odette solange
josette gaetane pauline clemence noemie orva delphine
antonio manuel francisco javier carlos miguel angel alejandro pedro pablo sergio fernando jorge luis alberto
alvaro adrian diego ivan raul ruben enrique ramon vicente joaquin andres ignacio victor mario eduardo roberto
jaime ricardo salvador emilio julio esteban rafael gustavo hector guillermo rodrigo santiago mateo thiago arturo
abelardo beltran aristoteles mijail
josefa isabel dolores pilar cristina lucia mercedes rosario juana raquel paula elena silvia montserrat beatriz
encarnacion rocio alba irene marta nuria eva concepcion consuelo ximena valentina mariana camila daniela
fernanda guadalupe leticia yolanda esperanza soledad maite dolores
giuseppe giovanni antonio mario luigi francesco angelo vincenzo pietro salvatore carlo franco domenico bruno
paolo michele giorgio aldo sergio luciano lorenzo alessandro matteo andrea marco davide simone federico riccardo
stefano massimo roberto fabio claudio enrico filippo gianluca gianni alberico quarto rosa giovanna giuseppina
lucia carla giulia chiara francesca federica elisa martina alessia ilaria paola simona nunzia caterina bianca
ginevra beatrice serena silvana ornella milena
joao jose antonio paulo pedro luis marcos rui nuno tiago goncalo duarte miguel rodrigo rafael felipe bruno
gustavo leonardo mateus matheus vinicius thiago caio otavio luiz luiza fernanda juliana mariana ana beatriz
catarina ines leonor matilde francisca joana rita sofia camila larissa leticia gabriela julieta aline thais
johannes jan pieter willem hendrik cornelis dirk gerrit jeroen maarten bram daan sander thijs wouter joost ruben
kees koen femke anneke marieke sanne lotte fleur saskia esmee margriet wilhelmina jildau maarit
erik lars karl anders per nils johan mikael magnus bjorn gustav axel emil oskar elias viktor fredrik henrik
mats hakan leif gunnar goran ulf tore olav ole knut arne svein terje trond geir stig rune jorgen mads rasmus
soren nikolaj kasper frederik mikkel christoffer asger torben bent niels jeppe
birgitta kerstin ingrid elsa astrid linnea ebba saga alva sigrid gunilla annika ylva emmie asa elin elina malin
freja mette inger kirsten hanne lone pia rikke camilla ida frederikke signe kristine maja solveig marit ragnhild
aase gudrun gunnhild emilie vide
matti juha timo kari mikko antti jari jukka janne tuomas ville eero heikki paavo pekka kalevi einojuhani tapio
kaija aino helmi anneli johanna tuula ritva riitta leena pirkko paivi satu tiina marja liisa tarja sari hanna
jon sigurdur gudmundur gunnar olafur einar kristjan magnus stefan matthias solvi erlendur hafthor vilhjalmur
gudrun sigridur kristin anna elinborg sigurlaug helga margret ragnheidur
jakub jan tomas lukas ondrej vojtech matej filip adam martin petr pavel josef jiri zdenek vaclav milan michal
miroslav stanislav vladimir jaroslav radek marek libor bohumil eva hana anna lenka katerina lucie vera alena
jana petra veronika martina marie jarmila jaroslava ludmila zdenka kamila barbora tereza adela bozena
piotr krzysztof andrzej tomasz pawel jan michal marcin grzegorz adam zbigniew jerzy tadeusz lukasz mateusz
jakub szymon kacper wojciech mariusz dariusz juliusz bogdan bonifacy maciej rafal slawomir stefan
agnieszka malgorzata katarzyna ewa krystyna barbara elzbieta zofia joanna magdalena monika wislawa jadwiga
danuta halina irena aleksandra zuzanna marcela beata dorota grazyna izabela
laszlo istvan jozsef janos zoltan sandor ferenc gabor attila peter tamas zsolt tibor andras csaba imre lajos
gyorgy balazs gergely miklos bela geza koppany antal katalin ilona erzsebet eva maria judit zsuzsanna agnes
andrea erika krisztina julianna eszter reka dora janka gyala
ivan dmitri dmitry sergei sergey aleksandr alexei aleksei andrei mikhail nikolai vladimir pavel igor oleg yuri
boris viktor anton maxim denis kirill roman ruslan vasily vsevolod yevgeny evgeny konstantin stanislav timur
bulat mstislav grigori leonid anatoly gennady valery vitaly vyacheslav fyodor fedor stepan zakhar
olga natalia natalya tatiana svetlana irina elena ekaterina anastasia yulia lyudmila galina nadezhda oksana
marina faina ksenia daria alina valida polina larisa lyubov vera zinaida efimiya shovda
bogdan andriy oleksandr oleksii taras mykola volodymyr iryna olena kateryna oksana yaroslav
marko luka nikola stefan milos dusan zoran dragan goran nenad slobodan aleksandar vuk petar josip tomislav
hrvoje mate ante mirko matjaz jure rok blaz ziga primoz samo samir esat vehbija vincencij
jelena milica ivana marija katarina tamara dragana snezana jasmina mirjana vesna gordana dubravka hijacinta
polona irenka mojca tjasa spela urska
ion andrei mihai alexandru gheorghe vasile ioan florin catalin razvan bogdan ioana mihaela elena alexandra
raluca simona roxana georgi dimitar hristo todor stoyan krasimir desislava tsvetana
giorgos dimitris nikos kostas yannis panagiotis christos vasilis stavros spyros eleni katerina sofia ioanna
angeliki despina vasiliki athanasios konstantinos aristides
mehmet mustafa ahmet ali huseyin hasan ibrahim ismail osman yusuf murat omer ramazan halil emre burak kerem
fatma ayse emine hatice zeynep elif meryem serife hulya esra merve busra
mohammed muhammad mohamed ahmed mahmoud omar ali hassan hussein ibrahim khalid youssef abdullah abdulrahman
karim tariq bilal hamza faisal nasser rashid salim walid ziad aisha fatima khadija mariam zainab noor layla
leila salma huda rania amina samira yasmin nadia abbas reza hossein mehdi farhad amir parisa shirin maryam
zahra niloofar elham navid kourosh dzhambek
avraham moshe yosef shlomo yitzhak eitan noam itai ariel rivka miriam tamar shira yael noa ariana
raj rajesh amit sanjay vijay rahul suresh ramesh anil arjun rohan vikram ravi ashok deepak manoj sunil krishna
aditya karthik priya anjali pooja neha sunita kavita lakshmi meera divya shreya ananya deepika nisha swati
wei ming jing yan xin hao jun lei qiang fang xiaoming mei hui ling ying yuki haruto hiroshi takashi kenji
satoshi makoto akira daisuke kazuki shintarou akifumi tomomi toshimi sakura yui aoi hina keiko yoko naoko
tomoko ayumi minjun jiho seojun minseo jiwoo hyun jisoo
nguyen minh tuan duc hung linh huong thao budi agus siti dewi putri
chinedu emeka ifeanyi chukwuemeka ngozi chidi amaka adaeze kwame kofi ama akua abena wanjiru kamau
thabo sipho nomsa lerato themba zanele tendai tatenda babajide oluwaseun temitope adebayo folake
";

/// The names as a set.
pub(super) fn first_names() -> HashSet<&'static str> {
    NAMES.split_whitespace().collect()
}

/// Writes `word` in small letters without Latin diacritics to `out`.
pub(super) fn plain(word: &str, out: &mut String) {
    out.clear();
    for letter in word.chars().flat_map(char::to_lowercase) {
        match base(letter) {
            Some(base) => out.push_str(base),
            None => out.push(letter),
        }
    }
}

fn base(letter: char) -> Option<&'static str> {
    Some(match letter {
        'à'..='å' | 'ā' | 'ă' | 'ą' => "a",
        'ç' | 'ć' | 'ĉ' | 'č' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => "e",
        'ğ' | 'ģ' => "g",
        'ì'..='ï' | 'ī' | 'į' | 'ı' => "i",
        'ķ' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ł' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => "o",
        'ŕ' | 'ř' => "r",
        'ś' | 'ş' | 'š' | 'ș' => "s",
        'ţ' | 'ť' | 'ț' => "t",
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => "u",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        'ß' => "ss",
        'æ' => "ae",
        'þ' => "th",
        'œ' => "oe",
        _ => return None,
    })
}
